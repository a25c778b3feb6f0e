"""What a token cache must look like once it is decrypted: MSAL reads it without looking, and stumbles over the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeGuard

Entry: TypeAlias = dict[str, str]
"""One cache entry. Its `secret`, if it has one, is a token."""

Content: TypeAlias = dict[str, dict[str, Entry]]
"""A whole cache: the entries by kind and key."""

SIGN_IN = "SignIn"
"""Our entries: `home_account_id` and `realm` by `username`, `tenant`, `client_id`, `environment` (authority's host)."""
ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN, ACCOUNT = "AccessToken", "RefreshToken", "IdToken", "Account"
"""What MSAL calls its kinds."""

_OWNER = ("home_account_id", "environment")
_NEEDED: Mapping[str, tuple[str, ...]] = {
    SIGN_IN: (*_OWNER, "client_id", "realm"),
    ACCESS_TOKEN: ("secret", "expires_on", "cached_at"),
    REFRESH_TOKEN: ("secret",),
}
_TEXTS = frozenset({*_OWNER, "client_id", "realm", "secret", "target", "username", "tenant", "token_type"})
_SECONDS = frozenset({"expires_on", "extended_expires_on", "cached_at", "refresh_on", "last_modification_time"})


def is_sound(content: object) -> TypeGuard[Content]:
    """Return whether this is a cache: entries by kind and key, each with what is read of it, as text."""
    return isinstance(content, dict) and all(
        isinstance(entries, dict) and all(_is_sound_entry(kind, entry) for entry in entries.values())
        for kind, entries in content.items()
    )


def _is_sound_entry(kind: str, entry: object) -> bool:
    if not isinstance(entry, dict) or any(entry.get(name) is None for name in _NEEDED.get(kind, ())):
        return False
    return all(
        (name not in _TEXTS or value is None or isinstance(value, str)) and (name not in _SECONDS or _is_moment(value))
        for name, value in entry.items()
    )


def _is_moment(value: object) -> bool:
    """Return whether it is a number of seconds since 1970, as text, that has a date."""
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 12
