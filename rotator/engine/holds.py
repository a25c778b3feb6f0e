"""Which errors put a record on hold, which hold it is, and which event tells of it."""

from __future__ import annotations

from rotator.domain.events.event import Event
from rotator.domain.events.rotations import PatVanished, RotationBlocked, RotationFailed
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


def make_failure_event(error: RotatorError, *, blocked: bool) -> Event:
    """Make the event that tells of a failure of work on a record; `blocked`: a person has to act."""
    if find_hold(error) is Hold.REVOKED_ELSEWHERE:
        return PatVanished(code=error.code, message=error.message)
    event = RotationBlocked if blocked else RotationFailed
    return event(code=error.code, message=error.message)


def find_hold(error: RotatorError) -> Hold | None:
    """Return the hold that this error puts on a record; None when it puts none."""
    return _HOLDS.get(type(error))


def find_next_hold(pat: ManagedPat, error: RotatorError) -> Hold | None:
    """Return the hold of a record once this error was noted on it: no failure undoes what a person revoked."""
    return pat.hold if pat.hold is Hold.REVOKED_BY_HAND else find_hold(error) or pat.hold
