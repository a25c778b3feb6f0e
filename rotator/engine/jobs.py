"""What each job of the daemon does, as a use case that says what came of it and when the next thing is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import ThreadDied
from rotator.domain.events.event import Event
from rotator.domain.events.places import AuditBroken, AuditVerified
from rotator.domain.exit_code import DONE, FAILED, LOCKED
from rotator.domain.job_run import KEPT_FOR, JobName, JobOutcome
from rotator.domain.next_step import Matter, NextAction, find_next_step
from rotator.domain.policy import Policy
from rotator.domain.probe import ProbeResult
from rotator.engine.auditing import find_lasting, record, record_logged
from rotator.engine.context import RunContext
from rotator.engine.exit_codes import find_code_of_errors, find_code_of_report
from rotator.engine.isolating import naming_bugs
from rotator.engine.lives import begin_life, end_silent_lives, find_difference, give_back, keep_life, look_at_claims
from rotator.engine.log_checking import check_log
from rotator.engine.noticing import Pair, notice_places
from rotator.engine.old_rotations import archive_rotations
from rotator.engine.probing import probe_due
from rotator.engine.pulse import Pulse
from rotator.engine.queue import Terms, load_matters, read_fresh
from rotator.engine.refreshing import refresh_account
from rotator.engine.retrying import retry_now
from rotator.engine.run import work_on_due, work_on_look
from rotator.engine.run_memory import begin_work, end_work, fail_run, find_last_ended, save_end
from rotator.engine.sealing import sealed
from rotator.engine.signing_keys import follow_keys
from rotator.engine.verified import load_verified, save_verified
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError, DatabaseError, RotatorError
from rotator.ports.database import Reading

_DOWN_AGAIN = timedelta(minutes=5)
_PROVEN_SOON = timedelta(minutes=1)
_LOOK_AGAIN = timedelta(seconds=5)
_SURELY = timedelta(seconds=1)
"""An overlap is over when every clock says so, and those of services may be half a second behind."""
_BY_TIME = (NextAction.RETIRE, NextAction.SETTLE)


@dataclass(frozen=True)
class JobResult:
    """What came of a job: how many of what, and when the next thing is to be done, if that is known.

    `exit_code` is what a command that does only this would end with; None where a stop cut it short.
    `is_down`: an account or an organization could not be worked with. `work_at`: when the next thing is to be done
    for any ManagedPat, by what this job saw of the queue.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    next_at: datetime | None = None
    exit_code: int | None = DONE
    is_down: bool = False
    work_at: datetime | None = None


def work_due(run: RunContext, pulse: Pulse) -> JobResult:
    """Work on what is due. A run that found nothing to do leaves its time in the pulse, and nothing else.

    It succeeded when every account and organization could be worked with, when anybody looked last: also where it
    rotated PATs of others meanwhile.

    When a person asked for it, what failed before does not wait until it would be tried again.
    """
    began = replace(begin_work(run), holder=pulse.holder)
    pulse.work_began_at = began.began_at
    try:
        if pulse.is_asked:
            with pulse.answered():
                retry_now(run)
        with naming_bugs("the other jobs go on"):
            report = sealed(work_on_due)(run)
    except RotatorError as error:
        save_end(run, fail_run(run, began, error))
        raise
    ended = end_work(run, began, report)
    code = find_code_of_report(report)
    is_news = bool(report.outcomes) or ended.outcome is not JobOutcome.SUCCEEDED
    seen = _Standing(is_done=False)
    if ended.outcome is JobOutcome.SUCCEEDED:
        seen = _look_back(run)
        if seen.is_down:
            code = code or FAILED
        else:
            pulse.work_succeeded_at = ended.ended_at
        if seen.is_down and (is_news or seen.has_raised):
            ended, is_news = replace(ended, outcome=JobOutcome.FAILED), True
    if is_news:
        save_end(run, ended)
    if report.is_stopped:
        return JobResult(ended.counts, exit_code=None)
    next_at = seen.next_at if seen.is_done else find_next_moment(run)
    return JobResult(ended.counts, next_at, _forgive_others(code), report.is_down)


@dataclass(frozen=True)
class _Standing:
    """How things stand after work, by the database.

    `is_down`: the last look at every account and organization found one that cannot be worked with. `has_raised`: an
    error ended the last work that left a trace. `is_done`: nothing is due, and `next_at` is when something will be.
    """

    is_done: bool
    next_at: datetime | None = None
    is_down: bool = False
    has_raised: bool = False


def _look_back(run: RunContext) -> _Standing:
    moment = run.services.clock.now()
    with run.services.database.read() as reading:
        now = reading.now()
        look, work = find_last_ended(reading, JobName.RECONCILE), reading.job_runs.find_last(JobName.WORK, now)
        is_due, ahead = bool(reading.queue.load_due(moment)), reading.queue.find_next(moment)
    return _Standing(
        is_done=not is_due,
        next_at=_add_margin(ahead),
        is_down=look is not None and look.outcome is JobOutcome.FAILED,
        has_raised=work is not None and work.failure is not None,
    )


def reconcile_all(run: RunContext) -> JobResult:
    """Look at every account and organization, and work on what that found. Where one is down, look again soon."""
    report = sealed(work_on_look, looks=True)(run)
    counts = end_work(run, begin_work(run), report).counts
    if report.is_stopped:
        return JobResult(counts, exit_code=None)
    next_at = run.services.clock.now() + _DOWN_AGAIN if report.is_down else None
    return JobResult(counts, next_at, _forgive_others(find_code_of_report(report)), report.is_down)


def _forgive_others(code: int) -> int:
    """Return the code of a job: that another run was at work is no failure of the daemon, which looks again."""
    return DONE if code == LOCKED else code


def find_next_moment(run: RunContext) -> datetime | None:
    """Return when the next thing is to be done for any ManagedPat, by the queue; None when it is not known.

    What should be over and is not yet, by a clock that is a little behind, is looked at again within seconds.
    """
    now, settle = run.services.clock.now(), run.services.timing.settle

    def load(reading: Reading, terms: Terms) -> tuple[datetime | None, tuple[Matter, ...], Policy]:
        return reading.queue.find_next(now), load_matters(reading, reading.queue.load_due(now)), terms.policy

    ahead, due, policy = read_fresh(run, load)
    for matter in due:
        pat = matter.pat.as_ending()
        step = find_next_step(matter, policy, policy.decide(pat, now=now, longest=None), now, settle)
        if step.action in _BY_TIME and step.at is not None and timedelta(0) <= now - step.at < _PROVEN_SOON:
            return now + _LOOK_AGAIN
    return _add_margin(ahead)


def _add_margin(ahead: datetime | None) -> datetime | None:
    return None if ahead is None else ahead + _SURELY


def refresh_sign_ins(run: RunContext) -> JobResult:
    """Refresh each account's sign-in, so that none ends because nobody used it. What keeps one from it is told once.

    An account whose token at hand will do, because Entra could not be asked, is not down, and was not refreshed.
    """
    down, looked, unasked = dict[Pair, RotatorError](), dict[Pair, tuple[str, ...]](), 0
    for account in run.services.accounts:
        try:
            with naming_bugs("the other accounts were refreshed"):
                unasked += not refresh_account(run, account.name, heeds_pause=True, renews=True)
        except DatabaseError:
            raise
        except RotatorError as error:
            down[account.name, ""] = error
        else:
            looked[account.name, ""] = ()
        notice_places(run, down, looked)
    code = find_code_of_errors(list(down.values()), done=bool(looked)) or (FAILED if unasked else DONE)
    return JobResult({"refreshed": len(looked) - unasked, "failed": len(down) + unasked}, None, code, unasked > 0)


def probe_values(run: RunContext, period: timedelta, since: timedelta | None = None) -> JobResult:
    """Try the values whose turn it is, so that each is tried once per period. No success where one could not be.

    `since` is the time since the pass before, where that is not the usual pause.
    """
    counts = probe_due(run, period, since)
    is_down = counts[ProbeResult.UNKNOWN] > 0
    return JobResult(
        {result.value: count for result, count in counts.items()}, None, FAILED if is_down else DONE, is_down
    )


def verify_audit(run: RunContext) -> JobResult:
    """Check what is new in the audit log, and once a week all of it. AuditChainError names what is wrong first.

    That it is broken is a condition, which lasts until it is verified again. What the log has, the journal then need
    not keep: old rotations leave it.
    """
    try:
        services = run.services
        now, trust = services.clock.now(), services.trust and follow_keys(services.database, services.trust)
        before = load_verified(services.database, trust, now)
        summary = check_log(services.database, (), trust, now, since=before)
    except AuditChainError as error:
        _note_chain(run, AuditBroken(sequence=error.sequence), is_broken=True)
        raise
    _note_chain(run, AuditVerified(), is_broken=False)
    save_verified(run, summary.sealed, summary.checkpoints, before if summary.since else None)
    moved = archive_rotations(run)
    return JobResult({"events": summary.events - summary.since} | ({"old_rotations": moved} if moved else {}))


def _note_chain(run: RunContext, event: Event, *, is_broken: bool) -> None:
    """Record that the chain is broken, or holds again, if that is news."""

    def write() -> None:
        with run.services.database.begin() as work:
            was_broken = bool(find_lasting(work, ConditionKind.AUDIT_BROKEN))
            if was_broken != is_broken:
                record(work, run, AUDIT_LOG, event, run.services.clock.now())

    keep_books(run.services, write)


def beat(run: RunContext, pulse: Pulse) -> JobResult:
    """Note that the daemon lives, in place; forget the daemons of long ago.

    See what others have entered into the queue since work began last, such as a command by hand; and what a process
    left that was at work and is no more: that is gone on with at once, or as soon as its claim binds no more. To know
    that, the heartbeats of others are looked at with each of its own.
    """
    now, dead = run.services.clock.now(), tuple(pulse.dead)
    ahead: datetime | None = None
    left: timedelta | None = None

    def commit() -> None:
        nonlocal ahead, left
        with run.services.database.begin() as work:
            told: list[tuple[str, Event]] = []
            if pulse.has_begun:
                told += [(run.actor, back) for back in keep_life(work, pulse)]
            else:
                told += [(run.actor, died) for died in begin_life(work, pulse.holder, pulse.began_at, now)]
            work.job_runs.beat(pulse.describe(work.now(), run.actor, run.policy.digest))
            work.job_runs.forget_heartbeats(work.now() - KEPT_FOR)
            left = look_at_claims(work, run, pulse)
            if pulse.work_began_at is not None:
                ahead = work.queue.find_next(pulse.work_began_at)
            if pulse.binds_for is not None:
                beats, elapsed = work.job_runs.load_heartbeats(), run.services.boot.read_boot().elapsed
                told += end_silent_lives(work, pulse.find_silent(beats, elapsed), now)
                told += find_difference(work, pulse, beats, elapsed)
            for actor, event in told:
                record(work, run, actor, event, now)
            for thread in dead:
                record_logged(work, run, run.actor, ThreadDied(thread=thread), now)

    pulse.beat(run.services.boot, commit)
    pulse.note_written(len(dead))
    give_back(run)
    _write_noted(run, pulse)
    return JobResult(work_at=_add_margin(ahead) if left is None or pulse.work_began_at is None else now + left)


def _write_noted(run: RunContext, pulse: Pulse) -> None:
    """Write what happened to the daemon into the audit log. Where that cannot be written, a later heartbeat does it."""
    if not (noted := pulse.take_noted()):
        return
    try:
        with run.services.database.begin() as work:
            for event in noted:
                record_logged(work, run, run.actor, event, run.services.clock.now())
    except (AuditChainError, DatabaseError):
        for event in noted:
            pulse.note(event)
