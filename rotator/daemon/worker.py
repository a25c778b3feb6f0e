"""Does a job: whatever goes wrong is reported, counted and tried again later, and keeps no other job from its work."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.daemon.beats import Beats
from rotator.daemon.job import Job, JobEnd, Workshops
from rotator.domain.backoff import make_backoff
from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import BugFound, JobFailed, JobRestored
from rotator.domain.events.event import Event
from rotator.domain.job_run import Failures, JobName, make_period
from rotator.engine.awareness import Awareness
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.periods import do_in_period
from rotator.engine.stalled import Stall, note_dropped, note_failure, note_no_progress, note_success
from rotator.errors import AuditChainError, InternalError, RotatorError, StoppedError

FIRST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(hours=1)
LEFT_OUT = timedelta(days=1)
LEAST_PAUSE = timedelta(seconds=2)
"""Between two runs of a job, however soon there is something to do."""
_STALLED = ConditionKind.JOB_STALLED


class Worker:
    """Does the jobs of the current workshop, in whatever thread it is called.

    `hasten` lets a job begin after that span, if it would begin later.
    """

    def __init__(
        self, shops: Workshops, beats: Beats, holder: str, hasten: Callable[[JobName, timedelta], None] | None = None
    ) -> None:
        self._shops, self._beats, self._holder = shops, beats, holder
        self._hasten = hasten
        self._asked: set[JobName] = set()
        self.failures: dict[JobName, int] = {}
        """How often each job has failed in a row; none that works is in it."""
        self._awareness = Awareness()
        self._failed_first: dict[JobName, datetime] = {}
        self._failed_by: dict[JobName, str] = {}
        self._proven: set[JobName] = set()
        """The jobs that have succeeded in this process."""
        self._late: set[JobName] = set()

    def ask(self, job: JobName) -> None:
        """Let a shared job be done although its period was done, at each turn until it works: a person asked for it."""
        self._asked.add(job)

    def do(self, name: JobName) -> timedelta:
        """Do a job, and return the span after which it is to be done again."""
        with self._shops.hold() as shop:
            job, run = shop.jobs.get(name), shop.make_run()
            if job is None:  # a reload took it out of the settings; another one schedules it anew
                self._beats.expect_start(name, LEFT_OUT)
                return LEFT_OUT
            self._beats.expect(name, job.budget)
            shop.monitor.note_start(name, run)
            watched = self._watch(job, run)
            try:
                result = self._do(job, watched)
                after, end = self._find_pause(job, run, result), JobEnd(result.exit_code)
            except StoppedError:
                after, end = job.interval, JobEnd(None)
            except RotatorError as error:
                after, end = self._note_failure(job, watched, error), JobEnd(error.exit_code, error)
            else:
                self._note_end(job, watched, result)
            shop.monitor.note_end(name, run, end)
            self._beats.expect_start(name, after)
            return after

    def _do(self, job: Job, run: RunContext) -> JobResult:
        with naming_bugs("the other jobs go on"):
            result = self._do_shared(job, run) if job.is_shared else job.act(run)
            if job.name is JobName.HEARTBEAT:
                self._awareness.look(run)
            if result.work_at is not None and self._hasten is not None:
                self._hasten(JobName.WORK, max(timedelta(0), result.work_at - run.services.clock.now()))
            return result

    def _do_shared(self, job: Job, run: RunContext) -> JobResult:
        is_asked = job.name in self._asked
        self._asked.discard(job.name)
        try:
            with run.services.database.read() as reading:
                now = reading.now()
            period = now if is_asked else make_period(now, job.interval)
            result = do_in_period(run, job.name, period, self._holder, job.act)
            is_asked = False
        finally:
            if is_asked:
                self._asked.add(job.name)
        return result

    def _note_end(self, job: Job, run: RunContext, result: JobResult) -> None:
        """Note what came of a job that did not fail: other jobs than these tell themselves what is down."""
        has_failed = self.failures.pop(job.name, 0) > 0
        self._failed_first.pop(job.name, None)
        self._failed_by.pop(job.name, None)
        if has_failed:
            run.progress(JobRestored(), job.name.value)
        if job.name in (JobName.PROBE, JobName.REFRESH) and result.is_down:
            note_failure(run, Stall(job.name, job.interval, self._holder, None))
        elif has_failed or job.name not in self._proven or self._awareness.knows(_STALLED, job.name.value):
            self._proven.add(job.name)
            note_success(run, job.name, self._holder)
        if job.name is JobName.HEARTBEAT:
            self._look_after_others(run)

    def _look_after_others(self, run: RunContext) -> None:
        """Tell of a job that gives no sign of life at two heartbeats in a row; right after the host slept none does.

        What no longer succeeded ends with a job that the settings have no more.
        """
        for job in JobName:
            if job not in self._shops.current.jobs and self._awareness.knows(_STALLED, job.value):
                note_dropped(run, job)
        late = set(self._beats.find_late())
        for job in sorted(late & self._late):
            note_no_progress(run, job)
        self._late = late

    def _watch(self, job: Job, run: RunContext) -> RunContext:
        """Return the run with each event that it tells taken as a sign of life."""

        def tell(event: Event, subject: str, /) -> None:
            self._beats.expect(job.name, job.budget)
            self._awareness.hear(event, subject)
            run.progress(event, subject)

        return replace(run, progress=tell)

    def _find_pause(self, job: Job, run: RunContext, result: JobResult) -> timedelta:
        if result.next_at is None:
            return job.interval
        return min(job.interval, max(LEAST_PAUSE, result.next_at - run.services.clock.now()))

    def _note_failure(self, job: Job, run: RunContext, error: RotatorError) -> timedelta:
        failures = self.failures[job.name] = self.failures.get(job.name, 0) + 1
        # Time does not mend a broken chain, and recomputing it is work.
        first = LONGEST_RETRY if isinstance(error, AuditChainError) else FIRST_RETRY
        after = make_backoff(failures, first=min(first, job.interval), longest=min(LONGEST_RETRY, job.interval))
        seconds = round(after.total_seconds())
        first_at = self._failed_first.setdefault(job.name, run.services.clock.now())
        note_failure(run, Stall(job.name, job.interval, self._holder, error, Failures(failures, first_at)))
        is_news, self._failed_by[job.name] = self._failed_by.get(job.name) != error.code, error.code
        if is_news or _is_doubled(failures):  # hours without a database are a few lines
            failed = JobFailed(code=error.code, message=error.message, failures=failures, retry_seconds=seconds)
            run.progress(failed, job.name.value)
        if isinstance(error, InternalError):
            run.progress(BugFound(stack="".join(traceback.format_exception(error.__cause__ or error))), job.name.value)
        return after


def _is_doubled(failures: int) -> bool:
    """Whether a failure is the first one, or there were half as many when one was told last."""
    return failures & (failures - 1) == 0
