"""Wait for a service or for the database, but not without end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from rotator.engine.context import Services
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError
from rotator.ports.clock import BootClock
from rotator.ports.stop import Stop

T = TypeVar("T")

_LONGEST_LOCK = timedelta(seconds=90)
"""Longer than a frozen process can hold a lock: PostgreSQL ends its transaction after 60 seconds."""
_LONGEST_ABSENCE = timedelta(seconds=5)


class Patience:
    """Pauses of 1, 2, 4, 8, 16, 16... seconds, none above `longest`, until a span is used up by the boot clock."""

    def __init__(self, clock: BootClock, stop: Stop, span: timedelta, *, longest: float = 16.0) -> None:
        self._clock = clock
        self._stop = stop
        self._ends_at = clock.read_boot().elapsed + span
        self._pause = 1.0
        self._longest = longest

    def wait(self, at_least: float | None = None) -> bool:
        """Pause and return True; return False immediately when the pause would be too long. StoppedError on a stop."""
        pause = max(self._pause, at_least or 0.0)
        if self._clock.read_boot().elapsed + timedelta(seconds=pause) > self._ends_at:
            return False
        self._stop.wait(pause)
        self._pause = min(self._longest, self._pause * 2)
        return True


def repeat(act: Callable[[], T], *, locked: Patience, away: Patience) -> T:
    """Return what an act on the database returns; after a fault that may pass, repeat it while the patience lasts.

    A COMMIT that was not answered may have been kept: the act finds that out, or does no harm when repeated.
    """
    while True:
        try:
            return act()
        except DatabaseLockedError:
            if not locked.wait():
                raise
        except DatabaseUnreachableError:
            if not away.wait():
                raise


def keep_books(services: Services, act: Callable[[], T]) -> T:
    """Return what an act for the whole run returns: it outlasts a lock, and a connection that broke.

    If the database stays away, the run ends soon, because no work is possible. The act does no harm when repeated.
    """
    clock, stop = services.boot, services.stop
    return repeat(act, locked=Patience(clock, stop, _LONGEST_LOCK), away=Patience(clock, stop, _LONGEST_ABSENCE))
