"""The clock guard: while the host's clock is wrong, nothing is minted or revoked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from rotator.domain.clocks import HOST, MOST_SKEW, Verdict
from rotator.domain.condition import ConditionKind
from rotator.domain.events.places import ClockConfirmed, ClockDoubted
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.words import say_duration
from rotator.engine.auditing import find_lasting, record
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.failover import check_timeline
from rotator.engine.moments import find_latest, read_clocks, read_moments
from rotator.engine.report import OutcomeReason, PatOutcome
from rotator.engine.waiting import keep_books
from rotator.errors import ClaimHeldError, ClockSkewError, NotManagedError
from rotator.ports.clock import Clock
from rotator.ports.database import Reading

URGENT = timedelta(hours=6)
"""With less time left by the witnesses' clocks a PAT is rotated all the same, reckoned by them."""


class ReckonedClock:
    """Port Clock: the host's clock, put right by what the witnesses say."""

    def __init__(self, clock: Clock, offset: timedelta) -> None:
        self._clock, self._offset = clock, offset

    def now(self) -> datetime:
        """See the port."""
        return self._clock.now() + self._offset


def list_moments(held: ClaimedPat) -> list[datetime]:
    """Do what `read_moments` does, in a transaction of its own."""
    return held.load(partial(read_moments, held.run))


def check_clocks(run: RunContext, *, revokes: bool) -> None:
    """Raise ClockSkewError when the host's clock is wrong. Call it right before a mint or a revocation.

    FailoverError when the database's server was replaced since the records were compared with their secrets.
    In a run that is reckoned by the witnesses only a mint may be sent.
    """
    with run.services.database.read() as reading:
        check_timeline(reading)
        verdict = read_clocks(run, reading)
    if verdict.is_wrong or (revokes and run.is_reckoned):
        raise make_skew_error(verdict)


def notice_clocks(run: RunContext) -> Verdict:
    """Return the verdict of now, and record what began or ended: a wrong clock of the host, or of a witness."""

    def notice() -> Verdict:
        with run.services.database.begin() as work:
            verdict, now = read_clocks(run, work), run.services.clock.now()
            lasting = find_lasting(work, ConditionKind.CLOCK_WRONG)
            if HOST in lasting and not verdict.is_wrong and (old := verdict.dissenting.keys() - lasting):
                run.services.witnesses.forget(old)  # it may have said that before the clocks were set right
                verdict = read_clocks(run, work)
            doubts = _find_doubts(verdict, lasting)
            for subject in sorted(doubts.keys() - lasting):
                span = doubts[subject]
                doubted = ClockDoubted(seconds=None if span is None else round(span.total_seconds()))
                record(work, run, subject, doubted, now)
            for subject in sorted(lasting - doubts.keys()):
                record(work, run, subject, ClockConfirmed(), now)
            return verdict

    return keep_books(run.services, notice)


def _find_doubts(verdict: Verdict, lasting: set[str]) -> dict[str, timedelta | None]:
    """Return whose clocks are wrong, and by how much. If it is the host's, no other clock is doubted for that alone.

    One that was doubted before stays so when it also differs from the majority, or when there is none.
    """
    if not verdict.is_wrong:
        return dict(verdict.dissenting)
    if verdict.offset is None:
        return dict.fromkeys((HOST, *lasting))
    offset = verdict.offset
    others = {name: span for name, span in verdict.dissenting.items() if abs(span - offset) > MOST_SKEW}
    return {HOST: offset, **{name: span for name, span in others.items() if name in lasting}}


def redate(run: RunContext) -> None:
    """Date anew what a wrong clock dated ahead of every clock at hand: its age counts from now, not from years ahead.

    Only once a service was heard: to a host that is slow, and alone, what was dated right is ahead.
    """
    if not run.services.witnesses.read_witnesses():
        return
    with run.services.database.read() as reading:
        now = find_latest(run, reading)
        after = now + MOST_SKEW
        names = _find_misdated(reading, after)
        pending = reading.revocations.load()
    for name in sorted(names):
        with suppress(ClaimHeldError, NotManagedError), claimed(run, name) as held:
            held.redate(after, now)

    def write() -> None:
        with run.services.database.begin() as work:
            work.revocations.redate(after, now)

    if any(max(item.since, item.requested_at, item.missed_at or item.since) > after for item in pending):
        keep_books(run.services, write)


def _find_misdated(reading: Reading, after: datetime) -> set[str]:
    """Return the names of the ManagedPats of which a rotation was changed after `after`."""
    journal = reading.journal
    rotations = (*journal.load_open(), *journal.load_leaving(after), *journal.load_late_stores(after))
    return {rotation.name for rotation in rotations if rotation.updated_at > after}


def reckon(run: RunContext, verdict: Verdict) -> Iterator[RunContext]:
    """Yield the run as it works by the witnesses' time; nothing when they do not agree on one.

    Once more if the host's clock was set meanwhile, right or wrong: what was added to it is not true any more.
    """
    for _ in range(2):
        if verdict.offset is None:
            return
        before = verdict.offset
        services = replace(run.services, clock=ReckonedClock(run.services.clock, before))
        yield replace(run, services=services, is_reckoned=True)
        with run.services.database.read() as reading:
            verdict = read_clocks(run, reading)
        if verdict.offset is not None and abs(verdict.offset - before) <= MOST_SKEW:
            return


def is_urgent(pat: ManagedPat, now: datetime) -> bool:
    """Whether a PAT cannot wait until somebody has set the clock: what has expired by now can."""
    return timedelta(0) < pat.valid_to - now < URGENT


def make_skew_error(verdict: Verdict, done: Iterable[PatOutcome] = ()) -> ClockSkewError:
    """Return the error that says how wrong the host's clock is, and what was `done` by the witnesses' time."""
    if verdict.offset is None:
        said = "the clocks of the services disagree, so nobody can tell what time it is"
    elif abs(verdict.offset) <= MOST_SKEW:
        said = "this host's clock is wrong"
    else:
        side = "slow" if verdict.offset > timedelta(0) else "fast"
        said = f"this host's clock is {say_duration(abs(verdict.offset))} {side}, by the clocks of those it talks to"
    told = [_tell(found) for found in done if not _is_of_the_clock(found)]
    what = (
        f"what could not wait, by the time of the services: {', '.join(told)}"
        if told
        else "nothing was minted or revoked"
    )
    return ClockSkewError(
        f"{said}; {what}",
        fix="Set the clock of this host (time synchronisation, NTP), then run `rotator once`.",
    )


def _is_of_the_clock(found: PatOutcome) -> bool:
    return found.reason is OutcomeReason.CLOCK_SKEWED


def _tell(found: PatOutcome) -> str:
    """Say what came of one ManagedPat: its name, what was done, and why it failed."""
    return f"{found.name} {found.kind.value}" + (f" ({found.failure.message})" if found.failure is not None else "")
