"""The one type that may hold a token, a key or a password."""

from __future__ import annotations

import hmac
from typing import NoReturn


class SecretValue:
    """A secret that cannot be printed, formatted, pickled, copied into a log or compared by accident.

    `reveal()` is the only way out; call it at the edge, in the argument of the library call that needs it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the bare value. Whoever calls this must not store, log or raise it."""
        return self._value

    def same_as(self, other: SecretValue) -> bool:
        """Return whether both hold the same value, in constant time."""
        return hmac.compare_digest(*(secret._value.encode(errors="surrogatepass") for secret in (self, other)))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "SecretValue(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SecretValue cannot be pickled or copied")

    __eq__ = object.__eq__
    __hash__ = object.__hash__
