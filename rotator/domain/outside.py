"""The one door for text from outside: made harmless, and ids in their one spelling, before anything else sees them."""

from __future__ import annotations

import re

_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    r"\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""What changes how other characters are shown, or is not shown itself: control characters, marks of direction, what has
no width, and tags."""
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def make_harmless(text: str) -> str:
    """The text with U+FFFD in place of control characters and halves of surrogate pairs.

    No database, log, terminal or file stumbles over what is left.
    """
    return _HARMFUL.sub("\ufffd", text)


def show_hidden(text: str, *, keep: str = "") -> str:
    """Return text from outside with escapes in place of what would hide in it, or turn it around, but for `keep`."""
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text)


def find_id(text: str) -> str | None:
    """The id (a UUID) in its one spelling, lower case with hyphens; None if the text is not an id."""
    lowered = text.strip().lower()
    return lowered if _ID.fullmatch(lowered) else None


def make_canonical(text: str) -> str:
    """An id in its one spelling; any other text made harmless."""
    return find_id(text) or make_harmless(text)
