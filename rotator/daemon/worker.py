"""Does a job: whatever goes wrong is reported, counted and tried again later, and keeps no other job from its work."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from rotator.daemon.beats import Beats
from rotator.daemon.job import Job, JobEnd, Workshops
from rotator.domain.backoff import make_backoff
from rotator.domain.events.daemon import BugFound, JobFailed, JobRestored
from rotator.domain.events.event import Event
from rotator.domain.job_run import JobName, make_period
from rotator.engine.awareness import Awareness
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.periods import do_in_period
from rotator.errors import AuditChainError, InternalError, RotatorError, StoppedError

FIRST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(hours=1)
LEAST_PAUSE = timedelta(seconds=2)
"""Between two runs of a job, however soon there is something to do."""


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

    def ask(self, job: JobName) -> None:
        """Let a shared job be done although its period was done, at each turn until it works: a person asked for it."""
        self._asked.add(job)

    def do(self, name: JobName) -> timedelta:
        """Do a job, and return the span after which it is to be done again."""
        with self._shops.hold() as shop:
            job, run = shop.jobs[name], shop.make_run()
            self._beats.expect(name, job.budget)
            shop.monitor.note_start(name, run)
            try:
                result = self._do(job, self._watch(job, run))
                after, end = self._find_pause(job, run, result), JobEnd(result.exit_code)
            except StoppedError:
                after, end = job.interval, JobEnd(None)
            except RotatorError as error:
                after, end = self._note_failure(job, run, error), JobEnd(error.exit_code, error)
            else:
                if self.failures.pop(name, 0):
                    run.progress(JobRestored(), name.value)
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
        failed = JobFailed(code=error.code, message=error.message, failures=failures, retry_seconds=seconds)
        run.progress(failed, job.name.value)
        if isinstance(error, InternalError):
            run.progress(BugFound(stack="".join(traceback.format_exception(error.__cause__ or error))), job.name.value)
        return after
