"""Probes: whether the value that consumers read signs in, tried for each record once per period, and spread over it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from hashlib import blake2b
from math import ceil

from rotator.domain.backoff import make_backoff
from rotator.domain.job_run import make_period
from rotator.domain.managed_pat import ManagedPat, check_aware

LOOKS = 2
"""How many tries in a row must be refused before a value counts as refused: one read of a vault may be an old one."""
_PASSES, _SHORTEST = 96, timedelta(minutes=1)
_LEAST_SHARE = 8
_RETRIES_PER_PERIOD = 24


class ProbeResult(StrEnum):
    """What one try showed. `untried`: there is no value of ours to try. `unknown`: a service could not be asked."""

    WORKS = auto()
    REFUSED = auto()
    UNTRIED = auto()
    UNKNOWN = auto()


class RefusalCause(StrEnum):
    """Why a value is refused, as far as can be told."""

    SECRET_MISSING = auto()
    SECRET_DISABLED = auto()
    SECRET_CHANGED = auto()
    WRONG_IDENTITY = auto()
    ACCESS_LOST = auto()
    PAT_EXPIRED = auto()
    PAT_REVOKED = auto()
    OWNER_MUST_SIGN_IN = auto()
    SIGN_IN_REQUIRED = auto()
    CAUSE_UNKNOWN = auto()


PAT_GONE = (RefusalCause.PAT_EXPIRED, RefusalCause.PAT_REVOKED)
"""The server says that the PAT itself is no longer active."""


@dataclass(frozen=True)
class Probe:
    """What is known of the value of one record, and when it is tried next.

    `authorization_id` is the PAT that was current at the last try: of another one's value it says nothing. `works` is
    None until something is proven; `failures` counts the tries in a row that were refused.
    """

    authorization_id: str
    next_at: datetime
    works: bool | None = None
    failures: int = 0

    def __post_init__(self) -> None:
        check_aware(self.next_at)


def make_pause(period: timedelta) -> timedelta:
    """Return the time between two passes: a 96th of the period, but at least a minute."""
    return min(period, max(period / _PASSES, _SHORTEST))


def make_share(records: int, period: timedelta, since: timedelta | None = None) -> int:
    """Return how many records one pass tries at most: twice what is needed, so that a backlog is spread too.

    `since` is the time that has passed since the pass before, where that is not the pause between two passes.
    """
    pause = make_pause(period)
    return max(_LEAST_SHARE, ceil(2 * records * (min(period, max(pause, since or pause)) / period)))


def find_slot(record: str, period: timedelta, after: datetime) -> datetime:
    """Return the next moment of a record: each has its own place in every period, by its id."""
    place = int.from_bytes(blake2b(record.encode(), digest_size=6).digest()) / (1 << 48)
    slot = make_period(after, period) + period * place
    return slot if slot > after else slot + period


def find_known(known: Probe | None, pat: ManagedPat) -> Probe | None:
    """Return what is known of the value of the PAT that is current now."""
    return known if known is not None and known.authorization_id == pat.authorization_id else None


def note_result(known: Probe | None, pat: ManagedPat, result: ProbeResult, period: timedelta, now: datetime) -> Probe:
    """Return what is known after one more try. What was refused, or could not be asked, is tried again soon."""
    pause = make_pause(period)
    mine = find_known(known, pat) or Probe(pat.authorization_id, now)
    if result is ProbeResult.UNKNOWN:
        return replace(mine, next_at=now + pause)
    if result is not ProbeResult.REFUSED:
        works = True if result is ProbeResult.WORKS else None
        return Probe(pat.authorization_id, find_slot(pat.record_id or pat.name, period, now), works)
    failures = mine.failures + 1
    wait = make_backoff(failures, first=pause, longest=max(pause, period / _RETRIES_PER_PERIOD))
    return Probe(pat.authorization_id, now + wait, False if failures >= LOOKS else mine.works, failures)
