"""Run memory: when work began, how it ended and what came of it, so that the outside can see when it last succeeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.daemon import JobFailed, RunUnrecorded
from rotator.domain.job_run import JobName, JobOutcome, JobRun, RunTimes
from rotator.domain.managed_pat import Failure
from rotator.engine.auditing import record_logged
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.report import RunReport
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError, DatabaseError, InternalError, RotatorError
from rotator.ports.database import Reading


def run_and_remember(run: RunContext, act: Callable[[RunContext], RunReport]) -> RunReport:
    """Do a run, noted before it begins and when it ended. What it raises is noted and passes through."""
    began = begin_work(run)

    def write() -> None:
        with run.services.database.begin() as work:
            work.job_runs.end(began)

    keep_books(run.services, write)
    try:
        with naming_bugs("nothing else was begun"):
            report = act(run)
    except RotatorError as error:
        save_end(run, fail_run(run, began, error))
        if isinstance(error, InternalError) and error.__cause__ is not None:
            raise error.__cause__ from None
        raise
    save_end(run, end_work(run, began, report))
    return report


def begin_work(run: RunContext) -> JobRun:
    """Return the run of work that begins now."""
    now = run.services.clock.now()
    return JobRun(JobName.WORK, now, run.claimant, now)


def end_work(run: RunContext, began: JobRun, report: RunReport) -> JobRun:
    """Return a run of work with what came of it."""
    outcome = JobOutcome.FAILED if report.is_down else JobOutcome.SUCCEEDED
    counts = Counter(found.kind.value for found in report.outcomes)
    return replace(
        began,
        ended_at=run.services.clock.now(),
        outcome=JobOutcome.STOPPED if report.is_stopped else outcome,
        counts=dict(counts),
    )


def fail_run(run: RunContext, began: JobRun, error: RotatorError) -> JobRun:
    """Return a job's run that an error ended."""
    now = run.services.clock.now()
    return replace(began, ended_at=now, outcome=JobOutcome.FAILED, failure=Failure.of(error))


def save_end(run: RunContext, ended: JobRun) -> None:
    """Note how a job's run ended, after a stop too. Where that cannot be written, it is told: the work is done.

    Not where it is for the same reason that the run failed, which is told as that.
    """
    try:
        try:
            _save(run, ended, is_audited=True)
        except AuditChainError:
            _save(run, ended, is_audited=False)
    except DatabaseError as error:
        if ended.failure is None or ended.failure.code != error.code:
            run.progress(RunUnrecorded(code=error.code), ended.job.value)


def _save(run: RunContext, ended: JobRun, *, is_audited: bool) -> None:
    """Write the end and, of the first failure in a row, the event."""
    with run.services.closing_database.begin() as work:
        is_news = is_audited and ended.failure is not None and not _has_failed(work, ended.job)
        work.job_runs.end(ended)
        if is_news and ended.failure is not None:
            failure = ended.failure
            event = JobFailed(code=failure.code, message=failure.message, failures=1, retry_seconds=0)
            record_logged(work, run, ended.job.value, event, run.services.clock.now())


def _has_failed(reading: Reading, job: JobName) -> bool:
    """Whether an error ended the last of a job's runs that ended."""
    last = find_last_ended(reading, job)
    return last is not None and last.failure is not None


def find_last_ended(reading: Reading, job: JobName) -> JobRun | None:
    """Return the last of a job's runs that ended, well or not. One that goes on, or was cut short, says nothing."""
    now = reading.now()
    ended = (reading.job_runs.find_last(job, now, found) for found in (JobOutcome.FAILED, JobOutcome.SUCCEEDED))
    return max(filter(None, ended), key=lambda run: run.period, default=None)


def load_run_times(reading: Reading) -> RunTimes:
    """Return when work last began and last succeeded, by `once` or by a daemon. What lies ahead of now is left out.

    A minute ahead is not: the clocks of the host that wrote it and of the database may differ so much.
    """
    now = reading.now()

    def drop_future(moments: Iterable[datetime | None]) -> list[datetime]:
        return [moment for moment in moments if moment is not None and moment <= now + MOST_SKEW]

    last = reading.job_runs.find_last(JobName.WORK, now)
    done = reading.job_runs.find_last(JobName.WORK, now, JobOutcome.SUCCEEDED)
    beats = [beat for beat in reading.job_runs.load_heartbeats() if drop_future([beat.beat_at])]
    started = drop_future([*(beat.work_began_at for beat in beats), last.began_at if last else None])
    succeeded = drop_future(beat.work_succeeded_at for beat in beats)
    raised = reading.job_runs.find_first_raised(JobName.WORK, now)
    own_success = max(drop_future([done.ended_at if done else None]), default=None)
    succeeded_at = max([*succeeded, *([own_success] if own_success else [])], default=None)
    is_daemons = done is not None and done.holder in {beat.holder for beat in beats}
    return RunTimes(
        started_at=max(started, default=None),
        succeeded_at=succeeded_at,
        raises_since=None if raised is None or (succeeded_at is not None and succeeded_at > raised) else raised,
        by_daemon=is_daemons or (bool(succeeded) and (own_success is None or max(succeeded) >= own_success)),
    )
