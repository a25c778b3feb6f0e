"""The sandbox's clock: real time plus an offset that tests and control calls increase."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A thread-safe clock that runs with real time and can be advanced; it never goes back."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the virtual time, in aware UTC."""
        with self._lock:
            return datetime.now(UTC) + self._offset

    def advance(self, by: timedelta) -> None:
        """Move the clock forward; raise ValueError for a negative duration."""
        if by < timedelta():
            raise ValueError("the clock does not go back")
        with self._lock:
            self._offset += by
