"""What makes `status --check` red: a PAT in trouble, a revocation that is overdue, a sign-in, no recent success."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.job_run import RunTimes
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.status import ATTENTION, PatStatus

LEAST_AGE = timedelta(minutes=15)
AGE_BY_HAND = timedelta(hours=3)
"""How old the last success may be: of a daemon at least, and where cron or a timer starts each run."""


class Alarm(StrEnum):
    """What a check finds. `sign_in`: nothing is wrong that a person's sign-in would not end."""

    NONE = auto()
    SIGN_IN = auto()
    ATTENTION = auto()


def find_alarm(
    rows: Iterable[PatStatus],
    pending: Iterable[PendingRevocation],
    sign_ins: Collection[str],
    runs: RunTimes,
    now: datetime,
    max_age: timedelta,
) -> Alarm:
    """Return what is wrong; `sign_ins` are the accounts that a person must sign in.

    While one of them waits no run succeeds: then it is enough that runs begin.
    """
    moment = runs.started_at if sign_ins else runs.succeeded_at
    is_stale = moment is None or now - moment > max_age
    if is_stale or any(row.state in ATTENTION for row in rows) or any(item.is_overdue(now) for item in pending):
        return Alarm.ATTENTION
    return Alarm.SIGN_IN if sign_ins else Alarm.NONE


def find_max_age(runs: RunTimes, interval: timedelta) -> timedelta:
    """Return how old the last success may be where nobody said it; `interval` is how often a daemon works."""
    return max(LEAST_AGE, 3 * interval) if runs.by_daemon else AGE_BY_HAND
