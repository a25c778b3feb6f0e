"""The lives of daemons: each is written when it begins and when it stops, so that the next one sees a crash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import (
    ClaimTakenOver,
    DaemonCrashed,
    DaemonReturned,
    DaemonsAgreed,
    DaemonsMixed,
    DaemonStopped,
)
from rotator.domain.events.event import Event
from rotator.domain.job_run import (
    BEATS_WITHIN,
    Heartbeat,
    JobName,
    JobOutcome,
    JobRun,
    find_colleagues,
    find_latest,
    find_process,
    say_differences,
)
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.auditing import find_lasting, record, record_logged
from rotator.engine.context import RunContext
from rotator.engine.pulse import Pulse
from rotator.errors import AuditChainError, ClaimHeldError, DatabaseError, StoppedError
from rotator.ports.claims import Claim
from rotator.ports.database import Database, Reading, UnitOfWork

T = TypeVar("T")

DAEMONS = "daemons"
"""What all of them together are called as a subject."""
_MOST_LIVES = 10
"""How many earlier lives a daemon looks at: several hosts may share the database."""
_AGREE_FOR = timedelta(minutes=10)
"""So long after the last difference daemons agree again: one that comes and goes is one difference."""


def begin_life(work: UnitOfWork, holder: str, began_at: datetime, now: datetime) -> list[DaemonCrashed]:
    """Note that a daemon lives; return what is to be told of earlier ones of this host that ended without a stop."""
    crashed = []
    for life in list(_load_lives(work)):
        taken = replace(life, holder=holder)
        if life.outcome is None and life.holder != holder and work.job_runs.begin(taken):
            work.job_runs.end(replace(life, ended_at=now, outcome=JobOutcome.FAILED))
            crashed.append(DaemonCrashed(began_at=life.began_at))
    work.job_runs.begin(JobRun(JobName.HEARTBEAT, began_at, holder, began_at))
    return crashed


def keep_life(work: UnitOfWork, pulse: Pulse) -> list[DaemonReturned]:
    """Note again that a daemon lives whose end others have noted, or whose life a failover lost; return what is told.

    It stood still, or was cut off, for so long that they took it for dead, or might take over what it was at.
    """
    life = work.job_runs.find_last(JobName.HEARTBEAT, pulse.began_at)
    is_known = life is not None and life.holder == pulse.holder and life.period == pulse.began_at
    is_ended = life is None or not is_known or life.outcome is not None
    if is_ended:
        work.job_runs.begin(JobRun(JobName.HEARTBEAT, pulse.began_at, pulse.holder, pulse.began_at))
    seconds = None if pulse.silence is None else round(pulse.silence.total_seconds())
    is_told = (is_ended and is_known) or seconds is not None
    return [DaemonReturned(began_at=pulse.began_at, silent_seconds=seconds)] if is_told else []


def tell_takeover(work: UnitOfWork, run: RunContext, claim: Claim, pat: ManagedPat, rotation: Rotation | None) -> None:
    """Tell from which daemon a claim was taken over that it did not give back, if it was another one's."""
    process = find_process(claim.taken_from or "")
    if not process or process == find_process(claim.claimant):
        return
    holders = [beat.actor or beat.holder for beat in work.job_runs.load_heartbeats() if beat.process == process]
    place = {"rotation_id": rotation.id} if rotation is not None else {}
    for holder in holders[:1]:
        event, now = ClaimTakenOver(holder=holder), run.services.clock.now()
        record(work, run, pat.name, event, now, account=pat.account, organization=pat.organization, **place)


def look_at_claims(work: UnitOfWork, run: RunContext, pulse: Pulse) -> timedelta | None:
    """Return how long until a claim is over that nobody renews, as far as is known; keep for the next ones who is late.

    Those of our own on which nobody works came back with a failover: they are given back after this transaction.
    """
    process = find_process(pulse.holder)
    pulse.leave_others(claim for claim in work.claims.load_all() if find_process(claim.claimant) == process)
    left = work.claims.find_next_over(now=work.now(), span=run.services.timing.lease)
    if left is not None:
        work.claims.keep_sights(now=work.now())
    return left


def end_silent_lives(work: UnitOfWork, silent: Collection[str], now: datetime) -> list[tuple[str, DaemonCrashed]]:
    """Note the ends of `silent` daemons, of whatever host, whose claims ended two minutes ago; return what is told.

    Each is told by one of the others, once, with its user and host.
    """
    ended = work.job_runs.end_silent(silent, work.now() - BEATS_WITHIN, now) if silent else ()
    return [(beat.actor or beat.holder, DaemonCrashed(began_at=beat.began_at)) for beat in ended]


def find_difference(
    work: UnitOfWork, pulse: Pulse, beats: Collection[Heartbeat], elapsed: timedelta
) -> list[tuple[str, Event]]:
    """Return what is to be told of daemons with different versions or policies, by the one that began first.

    Once, when that has lasted for minutes, by the boot clock; and once when it is over, by the dates and by what this
    daemon saw itself: a step of the database's clock makes the heartbeats of others look old until they come again.
    """
    now = work.now()
    colleagues = find_colleagues(beats, now)
    message = say_differences(colleagues)
    if not message or colleagues[0].holder != pulse.holder:
        pulse.differs_since = None
    elif pulse.differs_since is None:
        pulse.differs_since = elapsed
    if not colleagues or colleagues[0].holder != pulse.holder:
        return []
    if DAEMONS in find_lasting(work, ConditionKind.DAEMONS_MIXED):
        latest = set(find_latest(beats, now, _AGREE_FOR))
        latest |= {beat for beat in beats if beat.binds_for and pulse.has_changed(beat, elapsed, _AGREE_FOR)}
        return [] if say_differences(latest) else [(DAEMONS, DaemonsAgreed())]
    is_lasting = pulse.differs_since is not None and elapsed - pulse.differs_since >= BEATS_WITHIN
    return [(DAEMONS, DaemonsMixed(message=message))] if is_lasting else []


def watch_silent(run: RunContext, name: str | None = None) -> bool:
    """Wait until what a daemon was at that stays silent is free, that ManagedPat or any; return whether one may be.

    A daemon sees with its own heartbeats whether those of others stay away. Any other process has just begun, and has
    seen none: it watches them for as long as their claims bind, if one that holds something is late.
    """
    if run.pulse is not None:
        return False
    with run.services.database.read() as reading:
        left = reading.claims.find_next_over(now=reading.now(), span=run.services.timing.lease, name=name)
    if left:
        run.services.stop.wait(left.total_seconds())
    return left is not None


def outwait_silent(run: RunContext, name: str, act: Callable[[], T]) -> T:
    """Return what an act returns that claims a ManagedPat; where a silent daemon has it, watch that, and try again."""
    try:
        return act()
    except ClaimHeldError:
        if not watch_silent(run, name):
            raise
        return act()


def be_heard(run: RunContext) -> int | None:
    """Have a heartbeat of the daemon committed if the last one is late, and return the row that they go on in.

    So a job that is late, on a busy host, costs no claim: whoever can commit can also say that it lives.
    """
    pulse, database, boot = run.pulse, run.services.database, run.services.boot
    if pulse is None:
        return None

    def commit() -> None:
        with database.begin() as work:
            work.job_runs.beat(pulse.describe(work.now(), run.actor, run.policy.digest))

    if pulse.find_row(boot) is None:
        pulse.beat(boot, commit, only_late=True)
    return pulse.find_row(boot)


@contextmanager
def leaving(run: RunContext, *claims: Claim) -> Iterator[list[Claim]]:
    """Have the daemon give claims back later if the database fails the `with` block: nobody works on them any more."""
    found = list(claims)
    try:
        yield found
    except (DatabaseError, StoppedError):
        for claim in found:
            if run.pulse is not None:
                run.pulse.leave(claim)
        raise


def give_back(run: RunContext, database: Database | None = None) -> None:
    """Give back what work of this daemon that is over could not give back, because the database was away."""
    if run.pulse is None or not run.pulse.has_left:
        return
    with run.pulse.giving_back() as left, (database or run.services.database).begin() as work:
        for claim in left:
            work.inventory.load(claim.name)  # locks it: a COMMIT of the claim that got no answer may still be under way
            work.claims.release(claim)


def end_life(run: RunContext, holder: str, began_at: datetime) -> None:
    """Note that a daemon has stopped, and give back what it still has."""
    now = run.services.clock.now()
    give_back(run, run.services.closing_database)
    with run.services.closing_database.begin() as work:
        work.job_runs.end(
            JobRun(JobName.HEARTBEAT, began_at, holder, began_at, ended_at=now, outcome=JobOutcome.STOPPED)
        )
    with suppress(AuditChainError, DatabaseError), run.services.closing_database.begin() as work:
        record_logged(work, run, run.actor, DaemonStopped(), now)


def _load_lives(reading: Reading) -> Iterator[JobRun]:
    """Yield the newest lives that were noted, the newest first."""
    until = reading.now()
    for _ in range(_MOST_LIVES):
        life = reading.job_runs.find_last(JobName.HEARTBEAT, until)
        if life is None:
            return
        yield life
        until = life.period - life.period.resolution
