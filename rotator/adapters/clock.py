"""The host's time and randomness, behind the ports Clock and Entropy."""

from __future__ import annotations

import secrets
import threading
import uuid
from datetime import UTC, datetime


class SystemClock:
    """The wall clock. `stop`, once set, ends every sleep at once, so that a shutdown waits for no pause."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now(self) -> datetime:
        """The current moment, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds, or earlier when stopped; the caller looks at its own stop."""
        if seconds > 0:
            self._stop.wait(seconds)


class SystemEntropy:
    """The operating system's randomness."""

    def make_id(self) -> str:
        """A new unique id: 32 hex digits."""
        return uuid.uuid4().hex

    def pick(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + secrets.randbelow(high - low + 1)
