"""The one door for text from outside: made harmless, and ids in their one spelling, before anything else sees them."""

from __future__ import annotations

import re

_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def make_harmless(text: str) -> str:
    """The text with U+FFFD in place of control characters and halves of surrogate pairs.

    No database, log, terminal or file stumbles over what is left.
    """
    return _HARMFUL.sub("\ufffd", text)


def find_id(text: str) -> str | None:
    """The id (a UUID) in its one spelling, lower case with hyphens; None if the text is not an id."""
    lowered = text.strip().lower()
    return lowered if _ID.fullmatch(lowered) else None


def make_canonical(text: str) -> str:
    """An id in its one spelling; any other text made harmless."""
    return find_id(text) or make_harmless(text)
