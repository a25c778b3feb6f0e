"""The optional mark in a clone's display name, which alone proves that the clone is ours."""

from __future__ import annotations

import hashlib
import hmac
import re

from rotator.domain.secret_value import SecretValue

_MARK = re.compile(r" #rot-[0-9a-f]{16}$")


def make_marked_name(display_name: str, rotation_id: str, key: SecretValue) -> str:
    """Return the display name with this rotation's mark in place of an older one: `npm-feed #rot-3f9c2a7d10b4e865`.

    The mark is an HMAC of the rotation's id: nobody without the key can make it, and nobody has seen it before the
    mint is sent.
    """
    digest = hmac.new(key.reveal().encode(), rotation_id.encode(), hashlib.sha256).hexdigest()
    return f"{strip_mark(display_name)} #rot-{digest[:16]}"


def strip_mark(display_name: str) -> str:
    """Return the display name as people gave it."""
    return _MARK.sub("", display_name)


def is_marked(display_name: str) -> bool:
    """Return whether a display name ends in a mark."""
    return _MARK.search(display_name) is not None
