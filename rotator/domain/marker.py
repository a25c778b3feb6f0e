"""The optional mark in a clone's display name, which proves that the clone is ours.

What looks like a mark proves nothing: people can write that too. It must be the one that this rotation made.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from rotator.domain.secret_value import SecretValue

_SIGN = " #rot-"
_MARKS = re.compile(rf"(?:{_SIGN}[0-9a-f]{{16}})+$")
_PURPOSE = b"rotator: marks in display names"


def make_mark_key(secret: SecretValue) -> SecretValue:
    """Return the key of the marks, made from another one, so that a mark says nothing about that one."""
    return SecretValue(hmac.new(secret.reveal().encode(), _PURPOSE, hashlib.sha256).hexdigest())


def make_marked_name(display_name: str, rotation_id: str, key: SecretValue) -> str:
    """Return the display name with this rotation's mark in place of older ones: `npm-feed #rot-3f9c2a7d10b4e865`.

    The mark is an HMAC of the rotation's id: nobody without the key can make it, and nobody has seen it before the
    mint is sent.
    """
    digest = hmac.new(key.reveal().encode(), rotation_id.encode(), hashlib.sha256).hexdigest()
    return f"{strip_mark(display_name)}{_SIGN}{digest[:16]}"


def strip_mark(display_name: str) -> str:
    """Return the display name as people gave it, without anything at its end that looks like a mark."""
    return _MARKS.sub("", display_name) if _SIGN in display_name else display_name


def carries_mark(display_name: str, rotation_id: str, key: SecretValue) -> bool:
    """Return whether a display name ends in the mark of this very rotation, and in no other beside it."""
    expected = make_marked_name(display_name, rotation_id, key)
    return hmac.compare_digest(display_name.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass"))
