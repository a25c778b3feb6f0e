"""Jobs that no longer succeed: several intervals after its last success that is a condition, until it succeeds again.

How often a job failed is in the database, so it outlives the process. A job that is not due has not failed, and nor has
any on a host that was off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import DaemonsAgreed, JobDropped, JobResumed, JobStalled
from rotator.domain.events.event import Event
from rotator.domain.job_run import Failures, JobName, JobOutcome, JobRun, lives, make_period
from rotator.domain.managed_pat import Failure
from rotator.engine.auditing import find_lasting, record
from rotator.engine.context import RunContext
from rotator.errors import AuditChainError, ClockSkewError, FailoverError, RotatorError, StoppedError
from rotator.ports.database import Reading, UnitOfWork

SEVERAL = 3
"""A job no longer succeeds after so many of its intervals, and as many failures in a row."""
LEAST_PATIENCE = timedelta(minutes=15)
BY_ONCE = timedelta(hours=1)
"""How often a run of `rotator once` does what a daemon does within seconds, as far as anybody knows."""
KEEPS_NO_RUNS = (JobName.DELIVER, JobName.HOOKS)
"""The jobs that leave a run in the database only when they fail, and when they succeed again."""
_KEEPS_RUNS = (JobName.REFRESH, JobName.RECONCILE, JobName.PROBE, JobName.VERIFY_AUDIT, JobName.AUDIT_RECONCILE)
_COUNTED_HERE = (JobName.WORK, JobName.RECONCILE, JobName.HEARTBEAT)
"""The jobs whose failures are counted in the process alone: a run without success says that a place is down."""
_NOTED_EVERY = timedelta(minutes=5)
_WORK_OF_ONCE = (JobName.WORK, JobName.RECONCILE)
_OF_DAEMON = (JobName.REFRESH, JobName.HEARTBEAT)
_PLACES = (
    ConditionKind.SIGN_IN_NEEDED,
    ConditionKind.ACCOUNT_DOWN,
    ConditionKind.ORGANIZATION_DOWN,
    ConditionKind.VAULT_DOWN,
)
_TOLD_ELSEWHERE = (AuditChainError, ClockSkewError, FailoverError)
"""These have conditions of their own."""


@dataclass(frozen=True)
class Stall:
    """A job that did not succeed, and why: `error` is None where it could not do all of its work, and said no more.

    `holder` is the process, and `ours` how often the job failed in a row in it.
    """

    job: JobName
    interval: timedelta
    holder: str
    error: RotatorError | None
    ours: Failures = field(default_factory=Failures)


def note_failure(run: RunContext, stall: Stall) -> None:
    """Note that a job failed; once that has lasted for several of its intervals, it is told, and lasts."""

    def write(work: UnitOfWork) -> None:
        if stall.job in KEEPS_NO_RUNS:
            _save_failure(work, run, stall)
        event = _find_event(work, run, stall)
        if event is not None:
            record(work, run, stall.job.value, event, run.services.clock.now())

    def is_news(reading: Reading) -> bool:
        return stall.job in KEEPS_NO_RUNS or _find_event(reading, run, stall) is not None

    _write(run, is_news, write)


def note_no_progress(run: RunContext, job: JobName) -> None:
    """Note that a job was begun and does not end, or is due and is not begun."""
    event = JobStalled(code="no_progress", message="it makes no progress")

    def write(work: UnitOfWork) -> None:
        record(work, run, job.value, event, run.services.clock.now())

    _write(run, lambda reading: not _is_stalled(reading, job), write)


def note_success(run: RunContext, job: JobName, holder: str) -> None:
    """Note that a job succeeded, if it did not before."""

    def is_new(reading: Reading) -> bool:
        last = _find_run(reading, run, job)
        return job in KEEPS_NO_RUNS and (last is None or last.outcome is JobOutcome.FAILED)

    def is_doubtful(reading: Reading) -> bool:
        """Whether another process has the job at hand, or was the one that failed, and is still there."""
        last = _find_run(reading, run, job)
        if job in _KEEPS_RUNS:
            return last is None or not (last.outcome is JobOutcome.SUCCEEDED or _told_what_is_down(last))
        if not is_new(reading) or last is None or last.holder == holder:
            return False
        return lives(reading.job_runs.load_heartbeats(), run.services.clock.now(), last.holder)

    def is_news(reading: Reading) -> bool:
        return (is_new(reading) or _is_stalled(reading, job)) and not is_doubtful(reading)

    def write(work: UnitOfWork) -> None:
        now, is_over = run.services.clock.now(), _is_stalled(work, job)
        if is_new(work):
            work.job_runs.end(JobRun(job, now, holder, now, now, JobOutcome.SUCCEEDED))
        if is_over:
            record(work, run, job.value, JobResumed(), now)

    _write(run, is_news, write)


def note_dropped(run: RunContext, job: JobName) -> None:
    """Note that a job is not done any more, if it did not succeed before."""

    def write(work: UnitOfWork) -> None:
        if _is_stalled(work, job):
            record(work, run, job.value, JobDropped(), run.services.clock.now())

    _write(run, lambda reading: _is_stalled(reading, job), write)


@contextmanager
def watching(run: RunContext, job: JobName, interval: timedelta) -> Iterator[None]:
    """Note whether what is done inside succeeds, for a run that no daemon does."""
    try:
        yield
    except RotatorError as error:
        note_failure(run, Stall(job, interval, run.claimant, error))
        raise
    note_success(run, job, run.claimant)


def note_once(run: RunContext) -> None:
    """Note that `rotator once` has done its work; what only daemons do is not done any more, unless one lives.

    Nor do daemons then differ.
    """

    def list_ended(reading: Reading) -> list[tuple[str, Event]]:
        if lives(reading.job_runs.load_heartbeats(), run.services.clock.now()):
            return []
        ends: list[tuple[JobName, Event]] = [(job, JobResumed()) for job in _WORK_OF_ONCE]
        ends += [(job, JobDropped()) for job in _OF_DAEMON]
        over: list[tuple[str, Event]] = [(job.value, event) for job, event in ends if _is_stalled(reading, job)]
        return over + [(found, DaemonsAgreed()) for found in find_lasting(reading, ConditionKind.DAEMONS_MIXED)]

    def write(work: UnitOfWork) -> None:
        for subject, event in list_ended(work):
            record(work, run, subject, event, run.services.clock.now())

    _write(run, lambda reading: bool(list_ended(reading)), write)


def find_patience(interval: timedelta) -> timedelta:
    """Return how long after its last success a job no longer succeeds."""
    return max(SEVERAL * interval, LEAST_PATIENCE)


def _find_event(reading: Reading, run: RunContext, stall: Stall) -> JobStalled | None:
    """Return what is to be told now; None if nothing is, or if it is told in another way."""
    error = stall.error
    if isinstance(error, _TOLD_ELSEWHERE) or _is_stalled(reading, stall.job):
        return None
    if error is None and any(find_lasting(reading, kind) for kind in _PLACES):
        return None
    now, succeeded_at, failed = run.services.clock.now(), None, stall.ours
    if stall.job not in _COUNTED_HERE:
        done = reading.job_runs.find_last(stall.job, now, JobOutcome.SUCCEEDED)
        succeeded_at = None if done is None or stall.job in KEEPS_NO_RUNS else done.ended_at
        failed = reading.job_runs.count_failures(stall.job, None if done is None else done.period, now)
    since = succeeded_at or failed.first_at
    if failed.count < SEVERAL or since is None or now - since <= find_patience(stall.interval):
        return None
    if error is None:
        return JobStalled(code="not_done", message="it could not do all of its work", succeeded_at=succeeded_at)
    return JobStalled(code=error.code, message=error.message, succeeded_at=succeeded_at)


def _save_failure(work: UnitOfWork, run: RunContext, stall: Stall) -> None:
    """Leave a failed run in the database, every few minutes while that lasts."""
    now = run.services.clock.now()
    period, last = make_period(now, max(stall.interval, _NOTED_EVERY)), _find_run(work, run, stall.job)
    if last is None or last.outcome is not JobOutcome.FAILED or last.period < period:
        failure = None if stall.error is None else Failure.of(stall.error)
        work.job_runs.end(JobRun(stall.job, now, stall.holder, now, now, JobOutcome.FAILED, failure=failure))


def _find_run(reading: Reading, run: RunContext, job: JobName) -> JobRun | None:
    return reading.job_runs.find_last(job, run.services.clock.now())


def _told_what_is_down(last: JobRun) -> bool:
    """Whether a look at every account was done, and is no success because a place is down, which it told."""
    return last.job is JobName.RECONCILE and last.outcome is JobOutcome.FAILED and last.failure is None


def _is_stalled(reading: Reading, job: JobName) -> bool:
    return job.value in find_lasting(reading, ConditionKind.JOB_STALLED)


def _write(run: RunContext, is_news: Callable[[Reading], bool], write: Callable[[UnitOfWork], None]) -> None:
    """Write it if it is news. Where that cannot be written, the next run of the job tries again."""
    with suppress(RotatorError, StoppedError):
        with run.services.database.read() as reading:
            if not is_news(reading):
                return
        with run.services.database.begin() as work:
            if is_news(work):
                write(work)
