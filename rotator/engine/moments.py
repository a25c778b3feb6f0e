"""What time it is, by the clocks at hand: the host's, the database's and those of the services that answered."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.clocks import Verdict, judge
from rotator.engine.context import RunContext
from rotator.ports.clock import Clock, Witnesses
from rotator.ports.database import Reading


def read_clocks(run: RunContext, reading: Reading) -> Verdict:
    """Return what the services, the database and the audit log say of the host's clock."""
    return judge_clock(run.services.clock, run.services.witnesses, reading)


def judge_clock(clock: Clock, services: Witnesses, reading: Reading) -> Verdict:
    """Do what `read_clocks` does, where there is no run."""
    return _judge(clock, services, reading.find_clock(), reading)


def _judge(clock: Clock, services: Witnesses, own: datetime | None, reading: Reading) -> Verdict:
    """Judge the host's clock; `own` is the database's, where that has one."""
    witnesses = dict(services.read_witnesses())
    if own is not None:
        witnesses["database"] = own
    head = reading.audit.load_head()
    return judge(clock.now(), witnesses, head.occurred_at if head is not None else None)


def read_moments(run: RunContext, reading: Reading) -> list[datetime]:
    """Return what time it is by every clock at hand: the host's, the database's, and those that agree with them.

    A witness that is alone is set aside. Where the host's clock is wrong itself, every one counts: it may have been set
    in the middle of a run, and nobody may begin or end an overlap by it.
    """
    clock, own = run.services.clock, reading.find_clock()
    verdict = _judge(clock, run.services.witnesses, own, reading)
    return [clock.now(), own or reading.now(), *verdict.trusted]


def find_earliest(run: RunContext, reading: Reading) -> datetime:
    """Return what time it is by the earliest of those clocks, for what only expired evidence allows."""
    return min(read_moments(run, reading))


def is_witnessed(run: RunContext, reading: Reading) -> bool:
    """Whether another clock than the host's is at hand: the database's own, or that of a service that was heard."""
    return reading.find_clock() is not None or bool(run.services.witnesses.read_witnesses())


def is_clock_wrong(run: RunContext, own: datetime | None) -> bool:
    """Whether the services, and the database's own clock where it has one, say that the host's clock is wrong."""
    witnesses = dict(run.services.witnesses.read_witnesses())
    if own is not None:
        witnesses["database"] = own
    return judge(run.services.clock.now(), witnesses, None).is_wrong


def find_latest(run: RunContext, reading: Reading) -> datetime:
    """Return what time it is by the clock that is furthest ahead, doubted or not: for where no run has judged them.

    And for what only a date ahead of every clock proves. The clock of a new host may be slow until it is set. An
    overlap that a wrong clock dates too late is begun anew.
    """
    return max(run.services.clock.now(), reading.now(), *run.services.witnesses.read_witnesses().values())
