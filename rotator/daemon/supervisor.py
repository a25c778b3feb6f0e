"""The daemon as a whole: it starts, watches, reloads and stops, by requests that signals put into a queue."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum, auto

from rotator.daemon.beats import Beats
from rotator.daemon.job import Job, Workshop, Workshops
from rotator.daemon.worker import Worker
from rotator.domain.events.daemon import (
    DaemonReloaded,
    DaemonStarted,
    DaemonStopped,
    ReloadRefused,
    SchedulerRestarted,
)
from rotator.domain.events.event import Event
from rotator.domain.job_run import JobName, JobOutcome
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.errors import DatabaseError, RotatorError, StoppedError
from rotator.ports.progress import Progress
from rotator.ports.scheduler import Scheduler
from rotator.ports.service_host import ServiceHost

LOOK_EVERY = timedelta(seconds=5)
"""How often the supervisor looks after the jobs."""
_SPREAD = timedelta(seconds=1.25)
_MOST_LOOKS = 120
"""How often the supervisor looks after the jobs during one reload: one that lasts longer is stuck."""
_LAST_CALLS = timedelta(seconds=30)
"""What a stop needs beyond the rotations that it finishes: requests that are open."""


class Request(Enum):
    """What a signal asks of the daemon."""

    STOP = auto()
    RELOAD = auto()
    WORK = auto()


Requests = queue.SimpleQueue[Request]
"""Made for signal handlers: a handler may put something in while its own thread waits for it."""


class Supervisor:
    """Runs the daemon in the thread that calls it. `build` makes a workshop from the settings as they are then.

    `is_serving` says whether the thread that serves the daemon's pages gets on, if there is one. `ask` tells the next
    work that a person asked for it. `end` notes that the daemon has stopped.
    """

    def __init__(
        self,
        shops: Workshops,
        build: Callable[[], Workshop],
        make_scheduler: Callable[[Callable[[JobName], timedelta]], Scheduler],
        beats: Beats,
        host: ServiceHost,
        progress: Progress,
        holder: str,
        subject: str,
        is_serving: Callable[[], bool] = lambda: True,
        ask: Callable[[], None] = lambda: None,
        end: Callable[[RunContext], None] = lambda run: None,
    ) -> None:
        self._shops, self._build, self._beats, self._host = shops, build, beats, host
        self._worker = Worker(shops, beats, holder, lambda job, after: self._scheduler.hasten(job, after))
        self._scheduler = make_scheduler(self._worker.do)
        self._progress, self._subject = progress, subject
        self._is_serving, self._ask, self._end = is_serving, ask, end
        self._refused = ""

    def run(self, requests: Requests, version: str) -> None:
        """Do the jobs until a stop is asked for, and return when all is over."""
        self._tell(DaemonStarted(version=version))
        self._scheduler.start()
        for place, (job, after) in enumerate(self._plan_start()):
            self._schedule(job.name, after + place * _SPREAD)
        self._host.tell_ready(self._describe())
        has_stopped = False
        try:
            while Request.STOP not in (asked := self._wait(requests)):
                for request in asked:
                    self._answer(request)
                self._look()
            has_stopped = True
        finally:
            self._host.tell_stopping("Stopping", self._shops.current.stop_within + _LAST_CALLS)
            self._scheduler.stop()
            if has_stopped:
                self._note_end()
            self._shops.close()
        self._tell(DaemonStopped())

    def _note_end(self) -> None:
        """Note the stop; where that fails, the next start calls it a crash."""
        with suppress(RotatorError), self._shops.hold() as shop:
            self._end(shop.make_run())

    def _wait(self, requests: Requests) -> tuple[Request, ...]:
        """Return all that is asked for by now, each once; nothing when it is time to look after the jobs."""
        asked = dict[Request, None]()
        with suppress(queue.Empty):
            asked[requests.get(timeout=self._find_pause())] = None
            while True:
                asked[requests.get_nowait()] = None
        return tuple(asked)

    def _find_pause(self) -> float:
        """Return the seconds between two looks after the jobs."""
        watchdog = self._host.watchdog
        return (min(LOOK_EVERY, watchdog / 2) if watchdog else LOOK_EVERY).total_seconds()

    def _answer(self, request: Request) -> None:
        if request is Request.RELOAD:
            self._reload()
        elif request is Request.WORK:
            self._ask()
            self._worker.ask(JobName.RECONCILE)
            for job in (JobName.WORK, JobName.RECONCILE):
                self._schedule(job, timedelta(0))

    def _look(self) -> None:
        """Look after the jobs, and prove that the daemon lives if every one of them does."""
        if not self._scheduler.check():
            self._tell(SchedulerRestarted())
        if not self._beats.find_late() and self._is_serving():
            self._host.tell_alive()
        self._host.tell_status(self._describe())

    def _plan_start(self) -> list[tuple[Job, timedelta]]:
        """Return each job with the time until it is due: what was done lately waits, what was missed is done once.

        What failed last, or was cut short by a stop, is done at once.
        """
        with self._shops.hold() as shop:
            try:
                with shop.make_run().services.database.read() as reading:
                    now = reading.now()
                    last = {
                        name: found.began_at
                        for name in shop.jobs
                        if (found := reading.job_runs.find_last(name, now)) and found.outcome is JobOutcome.SUCCEEDED
                    }
            except DatabaseError:
                # The database is away: every job is tried, and tells so itself.
                return [(job, timedelta(0)) for job in shop.jobs.values()]
            return [(job, _find_wait(job, last.get(job.name), now)) for job in shop.jobs.values()]

    def _reload(self) -> None:
        """Build everything anew and go on with that; keep what there is, and say why, when that fails."""
        self._host.tell_reloading()
        try:
            with naming_bugs("the daemon goes on as it was"):
                new = self._build_aside()
        except StoppedError:
            return  # the request to stop comes next
        except RotatorError as error:
            self._refused = f"; the last reload was refused ({error.code})"
            self._tell(ReloadRefused(code=error.code, message=error.message))
        else:
            self._refused = ""
            before = self._shops.current.jobs
            self._shops.swap(new)
            self._tell(DaemonReloaded(needs_restart=", ".join(new.needs_restart)))
            for name, job in new.jobs.items():
                if name is JobName.WORK or name not in before or job.interval != before[name].interval:
                    self._schedule(name, timedelta(0))
        self._host.tell_ready(self._describe())

    def _build_aside(self) -> Workshop:
        """Build a workshop in another thread, and look after the jobs meanwhile: a vault may answer slowly."""
        with ThreadPoolExecutor(1, "reload") as builder:
            building = builder.submit(self._build)
            for _ in range(_MOST_LOOKS):
                if wait([building], self._find_pause()).done:
                    break
                self._look()
            return building.result()

    def _schedule(self, job: JobName, after: timedelta) -> None:
        self._beats.allow_start(job, after)
        self._scheduler.schedule(job, after)

    def _describe(self) -> str:
        """Return how things stand, in a line."""
        late, failing = [job.value for job in self._beats.find_late()], sorted(self._worker.failures)
        if not self._is_serving():
            late.append("listener")
        if late:
            return f"Stuck: {', '.join(late)}{self._refused}"
        return (f"Degraded: {', '.join(failing)} failing" if failing else "Working") + self._refused

    def _tell(self, event: Event) -> None:
        self._progress(event, self._subject)


def _find_wait(job: Job, last: datetime | None, now: datetime) -> timedelta:
    if last is None or not job.is_shared:
        return timedelta(0)
    # A fast clock may have dated it in the future.
    return max(timedelta(0), job.interval - max(timedelta(0), now - last))
