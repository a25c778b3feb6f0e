"""Which PATs are due for long by their rules, and became a task of runs only lately: those are not overdue yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rotator.domain.events.event import Event
from rotator.domain.events.inventory import (
    AllResumed,
    InventoryRebuilt,
    PatAdopted,
    PatDrifted,
    PatMoved,
    PatReappeared,
    PatRenamed,
    PatResumed,
    PatTakenOver,
    UpdateDropped,
)
from rotator.domain.events.places import LimitForgotten, PolicyChanged, SignInCompleted, SignInRestored
from rotator.domain.events.rotations import FailureCleared, RotationClosed, RotationCompleted
from rotator.domain.policy import Policy
from rotator.engine.alarm import is_due_for
from rotator.engine.status import PatStatus
from rotator.engine.subjects import name_organization
from rotator.errors import AuditChainError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database, Reading

_OF_ALL = (AllResumed, PolicyChanged)
_OF_PATS = (
    FailureCleared,
    InventoryRebuilt,
    PatAdopted,
    PatDrifted,
    PatMoved,
    PatReappeared,
    PatRenamed,
    PatResumed,
    PatTakenOver,
    RotationClosed,
    RotationCompleted,
    UpdateDropped,
)
_OF_PLACES = (LimitForgotten, SignInCompleted, SignInRestored)
"""What makes a PAT due that its rule would have made due long ago: of all, of one, or of an account or organization."""
_MOST = 10_000


def find_newly_due(
    database: Database,
    policy: Policy,
    rows: Iterable[PatStatus],
    now: datetime,
    max_age: timedelta,
    written_at: datetime | None = None,
) -> frozenset[str]:
    """Name those that are due for longer than that, and that no run could have begun so long ago.

    `written_at` is when the policy's file was last written: no run may have seen it yet.
    """
    late = [row for row in rows if is_due_for(row, now, max_age)]
    if not late:
        return frozenset()
    since = now - max_age
    try:
        with database.read() as reading:
            if _is_unknown(reading, policy, written_at, since) or _load_subjects(reading, _OF_ALL, since, now):
                return frozenset(row.name for row in late)
            names, places = (_load_subjects(reading, events, since, now) for events in (_OF_PATS, _OF_PLACES))
            places |= _find_limits_that_ended(reading, since, now)
    except AuditChainError:
        return frozenset()
    return frozenset(row.name for row in late if row.name in names or not places.isdisjoint(_list_places(row)))


def _is_unknown(reading: Reading, policy: Policy, written_at: datetime | None, since: datetime) -> bool:
    """Whether no run has told of the policy, which was written lately."""
    told = reading.audit.load_newest(1, AuditFilter(event=PolicyChanged.type.name))
    is_told = any(event.entry.details.get("sha256") == policy.digest for event in told)
    return not is_told and written_at is not None and written_at > since


def _load_subjects(reading: Reading, events: Iterable[type[Event]], since: datetime, now: datetime) -> set[str]:
    """Return what these events are about since then; what a wrong clock dated ahead counts as long ago."""
    wanted = (AuditFilter(event=event.type.name, since=since) for event in events)
    found = (event for each in wanted for event in reading.audit.load_newest(_MOST, each))
    return {event.entry.subject for event in found if since < event.occurred_at <= now}


def _find_limits_that_ended(reading: Reading, since: datetime, now: datetime) -> set[str]:
    """Return the organizations whose limit counts less since then: what it put off is due."""
    limits = reading.limits.load().items()
    return {name_organization(pair) for pair, limit in limits if any(since < at <= now for at in limit.list_turns())}


def _list_places(row: PatStatus) -> tuple[str, str]:
    return row.account, name_organization((row.account, row.organization))
