"""Stand-ins for what wakes the daemon's jobs and for who started it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rotator.adapters.database.engine import LOCK_WAIT
from rotator.domain.clocks import BootMoment
from rotator.domain.job_run import JobName


class MovedClock:
    """Port Clock: the host's clock, set on or back by `ahead` while no time passes."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        """See the port."""
        return datetime.now(UTC) + self.ahead


class RunningBootClock:
    """Port BootClock: real time passes."""

    def read_boot(self) -> BootMoment:
        """See the port."""
        return BootMoment("boot-1", timedelta(seconds=time.monotonic()))


class CountedJob:
    """A job that is done again after `span`; `await_count` waits until it was done so often."""

    def __init__(self, span: timedelta = timedelta(hours=1)) -> None:
        self.span = span
        self.count = 0
        self.threads: set[int] = set()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self._changed = threading.Condition()

    def __call__(self, _: JobName) -> timedelta:
        """Do it."""
        self.begun.set()
        assert self.gate.wait(LOCK_WAIT.total_seconds())
        with self._changed:
            self.count += 1
            self.threads.add(threading.get_ident())
            self._changed.notify_all()
        if self.error is not None:
            raise self.error
        return self.span

    def await_count(self, count: int, seconds: float = 20.0) -> bool:
        """Return whether it was done so often before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, seconds)


class NotedScheduler:
    """Port Scheduler: notes what is asked of it. `meanwhile` happens before each check."""

    def __init__(self, act: Callable[[JobName], timedelta]) -> None:
        self.act = act
        self.scheduled: list[tuple[JobName, timedelta]] = []
        self.hastened: list[tuple[JobName, timedelta]] = []
        self.calls: list[str] = []
        self.is_alive = True
        self.meanwhile: Callable[[], object] = lambda: None

    def start(self) -> None:
        """See the port."""
        self.calls.append("start")

    def schedule(self, job: JobName, after: timedelta) -> None:
        """See the port."""
        self.scheduled.append((job, after))

    def hasten(self, job: JobName, after: timedelta) -> None:
        """See the port."""
        self.hastened.append((job, after))

    def check(self) -> bool:
        """See the port."""
        self.meanwhile()
        self.calls.append("check")
        return self.is_alive

    def stop(self) -> None:
        """See the port."""
        self.calls.append("stop")


class NotedHost:
    """Port ServiceHost: notes what it is told."""

    watchdog: timedelta | None = None

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell_ready(self, status: str) -> None:
        """See the port."""
        self.told.append(f"ready: {status}")

    def tell_reloading(self) -> None:
        """See the port."""
        self.told.append("reloading")

    def tell_stopping(self, status: str, within: timedelta) -> None:
        """See the port."""
        self.told.append(f"stopping within {within.total_seconds():.0f} s")

    def tell_status(self, status: str) -> None:
        """See the port."""
        self.told.append(status)

    def tell_alive(self) -> None:
        """See the port."""
        self.told.append("alive")
