"""The real stop on a clock that is advanced, and one that comes while a service is being asked."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Protocol

from rotator.adapters.stop import ProcessStop
from rotator.sandbox.faults import Faults


class SleepingClock(Protocol):
    """A clock of a test: sleeping moves its time on."""

    def now(self) -> datetime:
        """The time."""

    def sleep(self, seconds: float) -> None:
        """Move the time on."""


def make_stop(clock: SleepingClock) -> ProcessStop:
    """A stop whose waits are sleeps of that clock, noted there and over at once."""
    start = clock.now()

    def pause(event: threading.Event, seconds: float) -> bool:
        clock.sleep(seconds)
        return event.is_set()

    return ProcessStop(seconds=lambda: (clock.now() - start).total_seconds(), pause=pause)


def make_stop_in_wait() -> ProcessStop:
    """A stop that comes in the middle of the first wait."""

    def pause(event: threading.Event, seconds: float) -> bool:
        stop.set()
        return True

    stop = ProcessStop(pause=pause)
    return stop


class StoppingFaults(Faults):
    """Faults whose latency is a stop: it comes while the request is open, which then has its effect and its answer."""

    def __init__(self, stop: ProcessStop) -> None:
        super().__init__()
        self._stop = stop

    def wait(self, seconds: float) -> None:
        """See Faults."""
        self._stop.set()
