"""What makes `status --check` red: a PAT in trouble or out of time, what waits for a person, no recent success."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from heapq import heappop, heappush

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.job_run import RunTimes
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.probe import RefusalCause
from rotator.engine.status import ATTENTION, PatState, PatStatus

LEAST_AGE = timedelta(minutes=15)
AGE_BY_HAND = timedelta(hours=3)
"""How old the last success may be: of a daemon at least, and where cron or a timer starts each run."""


_FOR_PERSONS = {event.type.begins for event in EVENTS if event.type.needs_person} - {None}
"""What lasts until a person acts."""


_CAUSES = (ConditionKind.SIGN_IN_NEEDED, ConditionKind.JOB_STALLED)
"""What is a cause of its own."""
_DOWN = (ConditionKind.ACCOUNT_DOWN, ConditionKind.ORGANIZATION_DOWN)
_SAID_OF_PATS = (
    ConditionKind.ROTATION_BLOCKED,
    ConditionKind.PAT_VANISHED,
    ConditionKind.PAT_EXPIRING,
    ConditionKind.CLONES_ABANDONED,
    ConditionKind.REVOCATION_PENDING,
)
"""What keeps a PAT from being rotated or revoked: a check says that of the PAT itself."""
_HOUR = timedelta(hours=1)
WITHIN = timedelta(days=7)
"""How far ahead a check looks for PATs that expire and will not be rotated before."""


class Alarm(StrEnum):
    """What a check finds. `sign_in`: nothing is wrong that a person's sign-in would not end."""

    NONE = auto()
    SIGN_IN = auto()
    ATTENTION = auto()


class Cause(StrEnum):
    """Why a check is red.

    `not_run`: nothing has ever run. `stale`: no recent run succeeded. `overdue`: expired, or no rotation has begun for
    long since one could. `expiring`: expires soon, and cannot or will not be rotated before. `in_trouble`: failed or
    blocked. `job_stalled`: a job has not succeeded for several of its intervals.
    """

    SIGN_IN = auto()
    OVERDUE = auto()
    EXPIRING = auto()
    IN_TROUBLE = auto()
    DOWN = auto()
    UNCONFIRMED = auto()
    FOR_PERSON = auto()
    JOB_STALLED = auto()
    NOT_RUN = auto()
    STALE = auto()


@dataclass(frozen=True)
class Finding:
    """One reason for a check to be red, with the names of what it is about."""

    cause: Cause
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tolerance:
    """What a check puts up with: how old the last success may be, how far ahead it looks, and the pace of rotations.

    `places` may still begin now, and `per_hour` in each hour. `newly_due` are PATs that are due for long by their
    rules, and became a task of runs only lately.
    """

    max_age: timedelta
    within: timedelta = WITHIN
    places: int = 50
    per_hour: int = 50
    newly_due: frozenset[str] = frozenset()


def judge(findings: Iterable[Finding]) -> Alarm:
    """Return how bad it is."""
    causes = {finding.cause for finding in findings}
    if causes - {Cause.SIGN_IN}:
        return Alarm.ATTENTION
    return Alarm.SIGN_IN if causes else Alarm.NONE


def find_findings(
    rows: Sequence[PatStatus],
    pending: Iterable[PendingRevocation],
    conditions: Sequence[Condition],
    runs: RunTimes,
    now: datetime,
    tolerance: Tolerance,
    signed_out: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """Return every reason to be red. `signed_out` are accounts that nobody is signed in for, also if no run met that.

    Each PAT that is late or in trouble is named once, for the most urgent of these reasons.
    While an account waits for its sign-in no run succeeds: then it is enough that runs begin, and that not every one is
    ended by an error. What waits for a sign-in
    and nothing else is no reason of its own.
    """
    needed = {*signed_out, *(found.subject for found in conditions if found.kind is ConditionKind.SIGN_IN_NEEDED)}
    others = [row for row in rows if not row.needs_sign_in]
    overdue = [row.name for row in others if _is_overdue(row, now, tolerance)]
    named = set(overdue)
    expiring = [name for name in _find_expiring(others, now, tolerance) if name not in named]
    named.update(expiring)
    in_trouble = [row.name for row in others if row.state in ATTENTION and row.name not in named]
    unconfirmed = [item for item in pending if item.is_overdue(now)]
    named.update(in_trouble, (item.authorization_id for item in unconfirmed))
    found = {
        Cause.SIGN_IN: sorted(needed),
        Cause.OVERDUE: overdue,
        Cause.EXPIRING: expiring,
        Cause.IN_TROUBLE: in_trouble,
        Cause.DOWN: [found.subject for found in conditions if found.kind in _DOWN],
        Cause.UNCONFIRMED: [item.name for item in unconfirmed],
        Cause.FOR_PERSON: [_name(item) for item in conditions if _waits_for_person(item, named)],
        Cause.JOB_STALLED: [found.subject for found in conditions if found.kind is ConditionKind.JOB_STALLED],
    }
    findings = [Finding(cause, tuple(subjects)) for cause, subjects in found.items() if subjects]
    if not _is_stale(runs, now, tolerance.max_age, bool(needed)):
        return tuple(findings)
    has_run = runs.started_at is not None or runs.succeeded_at is not None
    return (*findings, Finding(Cause.STALE if has_run else Cause.NOT_RUN))


def _is_stale(runs: RunTimes, now: datetime, max_age: timedelta, waits_for_sign_in: bool) -> bool:
    """Whether no recent run succeeded; while an account waits for its sign-in, none that was not ended by an error."""
    moment = runs.started_at if waits_for_sign_in else runs.succeeded_at
    if moment is None or now - moment > max_age:
        return True
    return waits_for_sign_in and runs.raises_since is not None and now - runs.raises_since > max_age


def _waits_for_person(found: Condition, named: Collection[str]) -> bool:
    """Whether it waits for a person, and is no more than why a PAT is among those that are `named` already."""
    by_sign_in = found.kind is ConditionKind.PROBE_FAILING and found.code == RefusalCause.SIGN_IN_REQUIRED
    is_said = found.kind in _SAID_OF_PATS and found.subject in named
    return found.kind in _FOR_PERSONS and not (found.kind in _CAUSES or by_sign_in or is_said)


def _name(found: Condition) -> str:
    return f"{found.kind.value} {found.subject}"


def _is_overdue(row: PatStatus, now: datetime, tolerance: Tolerance) -> bool:
    """Whether a PAT has expired, or no rotation of it has begun for longer than that since one could."""
    is_late = is_due_for(row, now, tolerance.max_age) and row.name not in tolerance.newly_due
    return row.state is PatState.EXPIRED or is_late


def is_due_for(row: PatStatus, now: datetime, max_age: timedelta) -> bool:
    """Whether a PAT is due for longer than that, by its rule, and no rotation of it has begun."""
    is_waiting = row.state is PatState.DUE and row.next_action is NextAction.ROTATE and row.next_at is not None
    return is_waiting and row.next_at is not None and now - row.next_at > max_age


def _find_expiring(rows: Iterable[PatStatus], now: datetime, tolerance: Tolerance) -> list[str]:
    """Name the PATs that expire within the span and are not rotated before: by hand only, paused, or behind others."""
    near = [row for row in rows if now < row.expires_at <= now + tolerance.within]
    left = {row.name for row in near if row.state is PatState.PAUSED or row.next_action is NextAction.REPLACE_BY_HAND}
    left |= set(_find_late([row for row in near if row.next_action is NextAction.ROTATE], now, tolerance))
    return [row.name for row in near if row.name in left]


def _find_late(rows: Sequence[PatStatus], now: datetime, tolerance: Tolerance) -> Iterator[str]:
    """Name the PATs that expire before their turn: each waits until it may be rotated, and for those that go first.

    Of those that wait at a moment the one that expires first goes first. Only so many go within an hour.
    """
    coming = sorted(rows, key=lambda row: row.next_at or now, reverse=True)
    per_hour = max(1, tolerance.per_hour)
    begun = deque([now] * max(0, per_hour - tolerance.places), maxlen=per_hour)
    waiting: list[tuple[datetime, str]] = []
    moment = now
    while coming or waiting:
        if len(begun) == per_hour:
            moment = max(moment, begun[0] + _HOUR)
        if not waiting:
            moment = max(moment, coming[-1].next_at or now)
        while coming and (coming[-1].next_at or now) <= moment:
            row = coming.pop()
            heappush(waiting, (row.expires_at, row.name))
        expires_at, name = heappop(waiting)
        if moment >= expires_at:
            yield name
        else:
            begun.append(moment)


def find_max_age(runs: RunTimes, interval: timedelta) -> timedelta:
    """Return how old the last success may be where nobody said it; `interval` is how often a daemon works."""
    return max(LEAST_AGE, 3 * interval) if runs.by_daemon else AGE_BY_HAND
