"""Which errors put a record on hold, and for what."""

from __future__ import annotations

from rotator.domain.managed_pat import Hold
from rotator.errors import DatabaseBehindError, ForeignWriteError, PatGoneError, RotatorError

_HOLDS = {
    ForeignWriteError: Hold.FOREIGN_WRITE,
    PatGoneError: Hold.REVOKED_ELSEWHERE,
    DatabaseBehindError: Hold.DATABASE_BEHIND,
}


def find_hold(error: RotatorError) -> Hold | None:
    """What a record waits for after this error; None when the error alone decides nothing later."""
    return _HOLDS.get(type(error))
