"""How a PAT's age stands against its policy, and how much time it has left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.engine.status import PatState, PatStatus


class AgeVerdict(StrEnum):
    """A PAT's age against the policy. `not_made`: its first PAT is still to be made. `blocked`: no age is right."""

    WITHIN = auto()
    DUE = auto()
    BY_HAND = auto()
    EXPIRED = auto()
    NO_RULE = auto()
    BLOCKED = auto()
    NOT_MADE = auto()


class TimeLeft(StrEnum):
    """How much time is left: less than so much, and not less than the one before."""

    EXPIRED = auto()
    DAY = auto()
    WEEK = auto()
    MONTH = auto()
    QUARTER = auto()
    LONGER = auto()


_LIMITS = (
    (TimeLeft.DAY, timedelta(days=1)),
    (TimeLeft.WEEK, timedelta(days=7)),
    (TimeLeft.MONTH, timedelta(days=30)),
    (TimeLeft.QUARTER, timedelta(days=90)),
)


def judge_age(row: PatStatus, now: datetime) -> AgeVerdict:
    """Return how the age of a PAT stands against the current policy."""
    if not row.authorization_id:
        return AgeVerdict.NOT_MADE
    if row.expires_at <= now:
        return AgeVerdict.EXPIRED
    if row.by_hand:
        return AgeVerdict.BY_HAND
    if row.rotate_after is None:
        return AgeVerdict.BLOCKED if row.state is PatState.BLOCKED else AgeVerdict.NO_RULE
    return AgeVerdict.DUE if row.rotate_after <= now else AgeVerdict.WITHIN


def count_time_left(rows: Iterable[PatStatus], now: datetime) -> dict[TimeLeft, int]:
    """Count the PATs by the time that they have left; one that is still to be made does not count."""
    counts = dict.fromkeys(TimeLeft, 0)
    for row in rows:
        if row.authorization_id:
            counts[_find_time_left(row.expires_at - now)] += 1
    return counts


def _find_time_left(left: timedelta) -> TimeLeft:
    if left <= timedelta(0):
        return TimeLeft.EXPIRED
    return next((name for name, limit in _LIMITS if left < limit), TimeLeft.LONGER)
