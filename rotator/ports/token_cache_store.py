"""Where an encrypted token cache is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol

from rotator.errors import RotatorError


class TokenCacheUnwritableError(RotatorError):
    """What is to be kept cannot be written. `reason` says why, without the place."""

    code = "token_cache_unwritable"

    def __init__(self, message: str, *, reason: str, fix: str) -> None:
        self.reason = reason
        super().__init__(message, fix=fix)


class TokenCacheStore(Protocol):
    """Keeps one token cache, already encrypted. Safe for threads and processes.

    `place` says where, in words that follow "the token cache"; `removal` what a person does to be rid of it. Every
    method raises DatabaseError where it is a database that cannot be used.
    """

    place: str
    removal: str

    def find_mark(self) -> Hashable | None:
        """Return what is another one after each write; None when nothing is kept."""

    def read(self, most: int) -> bytes | None:
        """Return what is kept, at most so many bytes of it; None when nothing is."""

    def read_previous(self, most: int) -> bytes | None:
        """Return the generation before, at most so many bytes of it; None when none is kept."""

    def write(self, fresh: bytes, previous: bytes | None) -> Hashable:
        """Keep this, all or nothing, so that no crash can lose it; return its mark. Called inside `writing`.

        `previous` is what was kept before; None when there was nothing that could be read. TokenCacheUnwritableError
        when it cannot be written.
        """

    def reading(self) -> AbstractContextManager[object]:
        """Have what is kept and the generation before belong together, for the moment that both are read."""

    def writing(self) -> AbstractContextManager[object]:
        """Keep every other writer out for the moment that a write takes."""

    def make_lock(
        self, sign_in: str, patience: timedelta, pause: Callable[[float], None]
    ) -> AbstractContextManager[object]:
        """Return the lock that is held while the tokens of one sign-in are refreshed, by one thread of one process.

        That thread may take it again, and write. It ends with its process, and by a write where that is what ends it.
        Entering raises TransientError `token_cache_locked` after `patience`. `pause` waits some seconds between two
        tries, and may raise.
        """
