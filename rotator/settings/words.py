"""Phrases that several checks share: did-you-mean and lists of alternatives."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def say_did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the nearest known word, or nothing when none is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f', did you mean "{by_folded[near[0]]}"?' if near else ""


def say_alternatives(names: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, last = list(names)
    return f"{', '.join(head)} or {last}" if head else last
