"""What a failure does to a record: which hold it puts on it, which event tells of it, when it is tried again."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.backoff import make_backoff
from rotator.domain.events.event import Event
from rotator.domain.events.rotations import FailureCleared, PatVanished, RotationBlocked, RotationFailed
from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.domain.obstacle import ObstacleKind
from rotator.domain.urgency import FIRST_RETRY, LONGEST_RETRY, bound_wait
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunMode
from rotator.errors import (
    DatabaseBehindError,
    FailureKind,
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

_OBSTACLES = frozenset(kind.value for kind in ObstacleKind)
OVERLAP_NOT_OVER = "overlap_not_over"
"""The code of a rotation that a person asked for while the old PAT of the one before it is not revoked."""


def make_failure_event(error: RotatorError, *, blocked: bool, down: str = "") -> Event:
    """Make the event that tells of a failure of work on a record. `blocked`: a person has to act; `down`: the place."""
    if find_hold(error) is Hold.REVOKED_ELSEWHERE:
        return PatVanished(code=error.code, message=error.message)
    if blocked:
        return RotationBlocked(code=error.code, message=error.message)
    return RotationFailed(code=error.code, message=error.message, down=down)


def list_cleared(pat: ManagedPat, error: RotatorError) -> list[Event]:
    """Return what tells, before an error is noted on a record, that what was told of its PAT is explained by it."""
    is_explained = find_next_hold(pat, error) is not Hold.REVOKED_ELSEWHERE
    return [FailureCleared()] if pat.hold is Hold.REVOKED_ELSEWHERE and is_explained else []


def find_hold(error: RotatorError) -> Hold | None:
    """Return the hold that this error puts on a record; None when it puts none."""
    return _HOLDS.get(type(error))


def find_next_hold(pat: ManagedPat, error: RotatorError) -> Hold | None:
    """Return the hold of a record once this error was noted on it.

    No failure undoes what a person revoked, and that somebody else wrote its secret does not explain that it vanished.
    """
    hold = find_hold(error)
    is_kept = pat.hold is Hold.REVOKED_ELSEWHERE and hold is Hold.FOREIGN_WRITE
    return pat.hold if pat.hold is Hold.REVOKED_BY_HAND or is_kept else hold or pat.hold


def is_only_asked(held: ClaimedPat, error: RotatorError) -> bool:
    """Whether an error only answers what a person asked for, and says nothing about the PAT.

    Its overlap is not over, so nothing is wrong with it. Or the record says already what happened to it: that the
    policy forbids a new one, or that none can be like it, changes nothing about that, and is known without the record.
    What else keeps a new one from being made is noted, with its own fix.
    """
    if held.run.mode is not RunMode.BY_HAND:
        return False
    is_forbidden = error.kind is FailureKind.FORBIDDEN or error.code in _OBSTACLES
    return error.code == OVERLAP_NOT_OVER or (is_forbidden and held.pat.hold is not None)


def make_retry_at(pat: ManagedPat, now: datetime) -> datetime:
    """Return when to try again after one more failure; the less time is left, the sooner."""
    wait = make_backoff(pat.failures + 1, first=FIRST_RETRY, longest=LONGEST_RETRY)
    return now + bound_wait(wait, pat.as_ending().valid_to - now)
