"""What makes `status --check` red: a PAT in trouble, what lasts until a person acts, a sign-in, no recent success."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.job_run import RunTimes
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.status import ATTENTION, PatStatus

LEAST_AGE = timedelta(minutes=15)
AGE_BY_HAND = timedelta(hours=3)
"""How old the last success may be: of a daemon at least, and where cron or a timer starts each run."""


_FOR_PERSONS = {event.type.begins for event in EVENTS if event.type.needs_person} - {None}
"""What lasts until a person acts."""


class Alarm(StrEnum):
    """What a check finds. `sign_in`: nothing is wrong that a person's sign-in would not end."""

    NONE = auto()
    SIGN_IN = auto()
    ATTENTION = auto()


def find_alarm(
    rows: Iterable[PatStatus],
    pending: Iterable[PendingRevocation],
    conditions: Iterable[Condition],
    runs: RunTimes,
    now: datetime,
    max_age: timedelta,
) -> Alarm:
    """Return what is wrong, by what `rows` and `pending` show and by the conditions that last.

    While an account waits for its sign-in no run succeeds: then it is enough that runs begin.
    """
    for_persons = {found.kind for found in conditions if found.kind in _FOR_PERSONS}
    needs_sign_in = ConditionKind.SIGN_IN_NEEDED in for_persons
    moment = runs.started_at if needs_sign_in else runs.succeeded_at
    is_stale = moment is None or now - moment > max_age
    is_wrong = any(row.state in ATTENTION and not row.needs_sign_in for row in rows) or any(
        item.is_overdue(now) for item in pending
    )
    if is_stale or is_wrong or for_persons - {ConditionKind.SIGN_IN_NEEDED}:
        return Alarm.ATTENTION
    return Alarm.SIGN_IN if needs_sign_in else Alarm.NONE


def find_max_age(runs: RunTimes, interval: timedelta) -> timedelta:
    """Return how old the last success may be where nobody said it; `interval` is how often a daemon works."""
    return max(LEAST_AGE, 3 * interval) if runs.by_daemon else AGE_BY_HAND
