"""APScheduler behind the port Scheduler, made to follow the boot clock.

APScheduler keeps the moment of each job by the wall clock. Alone, it does nothing for an hour after the clock was set
back by one, and goes through every missed interval after a jump ahead. So here a job is entered for one time only, we
keep by the boot clock when it is due, and its moment is set anew whenever the wall clock has moved away from that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from rotator.domain.job_run import JobName
from rotator.ports.clock import BootClock, Clock

AFTER_A_BUG = timedelta(minutes=1)
"""When a job is done again that raised, which none should."""
_TOLERANCE = timedelta(seconds=1)
_OVERDUE = timedelta(seconds=10)
_DEFAULTS = {"coalesce": True, "max_instances": 2, "misfire_grace_time": None}
"""A job is never at work twice: it is entered again at its own end. The second is one whose end is not noted yet."""


class JobScheduler:
    """Port Scheduler. `act` does a job and returns the span after which it is to be done again."""

    def __init__(self, clock: Clock, boot: BootClock, act: Callable[[JobName], timedelta]) -> None:
        self._clock, self._boot, self._act = clock, boot, act
        self._lock = threading.Lock()
        self._due: dict[JobName, timedelta] = {}
        self._at_work: set[JobName] = set()
        self._is_stopped = False
        self._scheduler = self._make_scheduler()

    def start(self) -> None:
        """See the port."""
        self._scheduler.start()

    def schedule(self, job: JobName, after: timedelta) -> None:
        """See the port."""
        with self._lock:
            self._due[job] = self._read_elapsed() + after
            if job not in self._at_work:
                self._enter(job)

    def hasten(self, job: JobName, after: timedelta) -> None:
        """See the port."""
        with self._lock:
            due = self._read_elapsed() + after
            if job not in self._at_work and due < self._due.get(job, due):
                self._due[job] = due
                self._enter(job)

    def check(self) -> bool:
        """See the port."""
        with self._lock:
            thread: threading.Thread = self._scheduler._thread  # it has no public name
            is_alive = thread.is_alive()
            if not is_alive:
                self._scheduler = self._make_scheduler()
                self._scheduler.start()
            for job, due in self._due.items():
                if job not in self._at_work and self._is_misplaced(job, due, is_new=not is_alive):
                    self._enter(job)
            self._scheduler.wakeup()  # while the host sleeps its waits stand still
        return is_alive

    def stop(self) -> None:
        """See the port."""
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            self._due.clear()
            self._scheduler.remove_all_jobs()
        if not was_stopped:
            self._scheduler.shutdown(wait=True)

    def _make_scheduler(self) -> BackgroundScheduler:
        # One thread for each job: if it stands still, that job is late, and the service manager hears of no life.
        executors = {job.value: ThreadPoolExecutor(1, {"thread_name_prefix": f"job-{job.value}"}) for job in JobName}
        return BackgroundScheduler(timezone=UTC, executors=executors, job_defaults=_DEFAULTS)

    def _is_misplaced(self, job: JobName, due: timedelta, *, is_new: bool) -> bool:
        found = self._scheduler.get_job(job.value)
        if found is None:
            # It has just been taken out to be done, or it was lost.
            return is_new or self._read_elapsed() - due > _OVERDUE
        entered: datetime = found.next_run_time
        return abs(entered - self._find_moment(due)) > _TOLERANCE

    def _enter(self, job: JobName) -> None:
        trigger = DateTrigger(self._find_moment(self._due[job]))
        self._scheduler.add_job(self._do, trigger, args=(job,), id=job.value, executor=job.value, replace_existing=True)

    def _do(self, job: JobName) -> None:
        """Do a job and enter it again. APScheduler's own events of its end may come before it has taken the job out."""
        with self._lock:
            self._at_work.add(job)
            self._due.pop(job, None)
        after = AFTER_A_BUG
        try:
            after = self._act(job)
        finally:
            with self._lock:
                self._at_work.discard(job)
                if not self._is_stopped:
                    due = self._read_elapsed() + after
                    self._due[job] = min(due, self._due.get(job, due))
                    self._enter(job)

    def _find_moment(self, due: timedelta) -> datetime:
        """Return when a job is due by the wall clock as it is now."""
        return self._clock.now() + (due - self._read_elapsed())

    def _read_elapsed(self) -> timedelta:
        return self._boot.read_boot().elapsed
