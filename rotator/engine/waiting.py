"""Wait for a service, but not without end."""

from __future__ import annotations

from datetime import timedelta

from rotator.ports.clock import Clock
from rotator.ports.stop import Stop


class Patience:
    """Pauses of 1, 2, 4, 8, 16, 16... seconds until a span is used up."""

    def __init__(self, clock: Clock, stop: Stop, span: timedelta) -> None:
        self._clock = clock
        self._stop = stop
        self._ends_at = clock.now() + span
        self._pause = 1.0

    def wait(self, at_least: float | None = None) -> bool:
        """Pause and return True; return False immediately when the pause would be too long. StoppedError on a stop."""
        pause = max(self._pause, at_least or 0.0)
        if self._clock.now() + timedelta(seconds=pause) > self._ends_at:
            return False
        self._stop.wait(pause)
        self._pause = min(16.0, self._pause * 2)
        return True
