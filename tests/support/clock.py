"""A clock that only moves when it is told to."""

import threading
from datetime import UTC, datetime, timedelta

from rotator.domain.clocks import BootMoment

START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


class FakeClock:
    """The engine's `Clock` and `BootClock` for tests: sleeping moves the time on and returns at once. Thread-safe.

    `slept` lists the seconds of every sleep, in order.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("the clock needs an aware datetime")
        self._now = start.astimezone(UTC)
        self._elapsed, self._boot = timedelta(hours=1), 1
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Move the time on by this many seconds, as if they had been slept."""
        if seconds < 0:
            raise ValueError(f"cannot sleep {seconds} seconds")
        with self._lock:
            self.slept.append(seconds)
            self._now += timedelta(seconds=seconds)
            self._elapsed += timedelta(seconds=seconds)

    def advance(self, by: timedelta) -> None:
        """Move the time on (or back, with a negative value: a clock that was set)."""
        with self._lock:
            self._now += by
            self._elapsed += max(by, timedelta(0))

    def set(self, by: timedelta) -> None:
        """Set the wall clock on or back, while no time passes."""
        with self._lock:
            self._now += by

    def reboot(self) -> None:
        """Begin another boot."""
        with self._lock:
            self._boot += 1

    def read_boot(self) -> BootMoment:
        """See the port BootClock."""
        with self._lock:
            return BootMoment(f"boot-{self._boot}", self._elapsed)
