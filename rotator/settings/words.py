"""A phrase that several checks share: a list of alternatives."""

from __future__ import annotations

from collections.abc import Iterable


def say_alternatives(names: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, last = list(names)
    return f"{', '.join(head)} or {last}" if head else last
