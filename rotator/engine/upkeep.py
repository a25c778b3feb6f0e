"""The daemon's other jobs at the end of `rotator once`, for a host that has no daemon: each once in its period."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial

from rotator.domain.events.daemon import JobFailed
from rotator.domain.job_run import JobName, make_period
from rotator.domain.probe import make_pause
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult, probe_values, verify_audit
from rotator.engine.periods import do_in_period
from rotator.engine.stalled import Stall, note_dropped, note_failure, note_once, watching
from rotator.errors import RotatorError, StoppedError

Comparing = tuple[timedelta, Callable[[RunContext], JobResult]]
"""How often Azure DevOps' own log is compared with ours, and what does it."""


def keep_up(
    run: RunContext, probe_every: timedelta, verify_every: timedelta, comparing: Comparing | None = None
) -> tuple[RotatorError, ...]:
    """Do the jobs `probe`, `verify_audit` and, if there is one, `audit_reconcile` where their period is not done.

    Return what went wrong, which was told.

    To be called after a run that is remembered. The values whose turn came since the run before are tried. The first
    run of an installation does none of them: it does not know how often runs come.
    """
    failed: list[RotatorError] = []
    with suppress(StoppedError):  # the next run does it
        note_once(run)
        with _telling(run, JobName.PROBE, failed):
            since = _find_span(run)
            if since is not None:
                probe = partial(probe_values, period=probe_every, since=since)
                _do(run, JobName.PROBE, make_pause(probe_every), probe)
        with _telling(run, JobName.VERIFY_AUDIT, failed):
            if _find_span(run) is not None:
                _do(run, JobName.VERIFY_AUDIT, verify_every, verify_audit)
        if comparing is None:
            note_dropped(run, JobName.AUDIT_RECONCILE)
        else:
            with _telling(run, JobName.AUDIT_RECONCILE, failed):
                if _find_span(run) is not None:
                    _do(run, JobName.AUDIT_RECONCILE, *comparing)
    return tuple(failed)


def _do(run: RunContext, job: JobName, every: timedelta, act: Callable[[RunContext], JobResult]) -> None:
    """Do a job where its period is not done, and note whether it still succeeds."""
    with watching(run, job, every):
        period = make_period(run.services.clock.now(), every)
        with naming_bugs("the run is over all the same"):
            result = do_in_period(run, job, period, run.claimant, act)
        if result.is_down:
            note_failure(run, Stall(job, every, run.claimant, None))


def _find_span(run: RunContext) -> timedelta | None:
    """Return how long before this run the one before it began; None when there was none."""
    with run.services.database.read() as reading:
        this = reading.job_runs.find_last(JobName.WORK, reading.now())
        before = this and reading.job_runs.find_last(JobName.WORK, this.period - timedelta.resolution)
    return this.period - before.period if this and before else None


@contextmanager
def _telling(run: RunContext, job: JobName, failed: list[RotatorError]) -> Iterator[None]:
    """What goes wrong inside is told and kept in `failed`: the run itself is over, and its report is to be shown."""
    try:
        with naming_bugs("the run is over all the same"):
            yield
    except RotatorError as error:
        run.progress(JobFailed(code=error.code, message=error.message, failures=1, retry_seconds=0), job.value)
        failed.append(error)
