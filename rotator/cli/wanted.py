"""What a person wants of a PAT, as read from options: scopes, a lifetime, a vault."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from rotator.errors import UsageError
from rotator.settings.addresses import parse_vault
from rotator.settings.durations import parse_duration
from rotator.settings.scopes import check_scope

_Value = TypeVar("_Value")


def read_scopes(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes. UsageError when Azure DevOps has none of that name."""
    return tuple(_read(check_scope, text, "For example --scope vso.code.") for text in texts)


def read_lifetime(text: str) -> timedelta:
    """Return the lifetime. UsageError when the text is not a duration."""
    return _read(parse_duration, text, "For example --lifetime 30d.")


def read_vault(text: str) -> str:
    """Return the vault's address. UsageError when the text is none."""
    return _read(parse_vault, text, "For example --vault https://contoso-kv.vault.azure.net.")


def _read(parse: Callable[[str], _Value], text: str, fix: str) -> _Value:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(str(error), fix=fix) from None
