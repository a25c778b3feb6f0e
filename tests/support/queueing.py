"""What must hold of the queue in every state: no record is entered later than a run has something to do with it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.next_step import find_due
from rotator.domain.policy import Policy
from rotator.engine.in_force import put_in_force
from rotator.engine.queue import load_matters, make_basis
from rotator.ports.database import Reading


def check_queue(reading: Reading, policy: Policy, settle: timedelta, now: datetime) -> list[str]:
    """Return what is wrong: an entry that is not stale must be the recomputed one, or be due, so that a run looks.

    A host whose clock is ahead by less than what is tolerated may have computed it.
    """
    policy = put_in_force(reading, policy)
    records, limits = reading.inventory.load_all(), reading.limits.load()
    stale = set(reading.queue.find_stale(make_basis(policy, settle, limits, now), len(records) + 1))
    looked_at = {pat.name for pat in reading.queue.load_due(now)} | stale
    wrong = []
    for matter in load_matters(reading, records):
        name, due = matter.pat.name, find_due(matter, policy, limits, now, settle)
        if name in looked_at:
            continue
        moment = _find_moment(reading, name, now)
        ahead = find_due(matter, policy, limits, now + MOST_SKEW, settle)
        if moment not in (due.at, ahead.at):
            wrong.append(f"{name} is entered for {moment}, now is {now}, recomputed is {due}: {matter}")
    return wrong


def _find_moment(reading: Reading, name: str, now: datetime) -> datetime | None:
    """Return when a record is entered that is not due now."""
    moment = reading.queue.find_next(now)
    while moment is not None and name not in {pat.name for pat in reading.queue.load_due(moment)}:
        moment = reading.queue.find_next(moment)
    return moment
