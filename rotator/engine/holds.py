"""Which errors put a record on hold, and which hold it is."""

from __future__ import annotations

from rotator.domain.managed_pat import Hold
from rotator.errors import DatabaseBehindError, ForeignWriteError, PatGoneError, RotatorError

_HOLDS = {
    ForeignWriteError: Hold.FOREIGN_WRITE,
    PatGoneError: Hold.REVOKED_ELSEWHERE,
    DatabaseBehindError: Hold.DATABASE_BEHIND,
}


def find_hold(error: RotatorError) -> Hold | None:
    """Return the hold that this error puts on a record; None when it puts none."""
    return _HOLDS.get(type(error))
