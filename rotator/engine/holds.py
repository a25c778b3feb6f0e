"""Which errors put a record on hold, and which hold it is."""

from __future__ import annotations

from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.errors import (
    DatabaseBehindError,
    ForeignWriteError,
    PatGoneError,
    RevokedByHandError,
    RotatorError,
)

_HOLDS = {
    ForeignWriteError: Hold.FOREIGN_WRITE,
    RevokedByHandError: Hold.REVOKED_BY_HAND,
    PatGoneError: Hold.REVOKED_ELSEWHERE,
    DatabaseBehindError: Hold.DATABASE_BEHIND,
}


def find_hold(error: RotatorError) -> Hold | None:
    """Return the hold that this error puts on a record; None when it puts none."""
    return _HOLDS.get(type(error))


def find_next_hold(pat: ManagedPat, error: RotatorError) -> Hold | None:
    """Return the hold of a record once this error was noted on it: no failure undoes what a person revoked."""
    return pat.hold if pat.hold is Hold.REVOKED_BY_HAND else find_hold(error) or pat.hold
