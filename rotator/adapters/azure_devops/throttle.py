"""Waits for as long as the service asks, together with every other thread of the same account."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from rotator.adapters.http_dates import read_http_date
from rotator.adapters.retry_after import parse_retry_after
from rotator.ports.clock import BootClock
from rotator.ports.stop import Stop

_LONGEST_RESET = timedelta(seconds=30)


def read_pause(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that an answer, of any status, asks the next request to wait; None if it asks for nothing.

    `Retry-After` counts. Without it, `X-RateLimit-Remaining: 0` asks for a wait until `X-RateLimit-Reset`; half
    a minute is enough, because the service says more once it really blocks. Both may name a moment: of the clock of
    the answer's `Date`, or of ours (`now`) where it has none.
    """
    now = read_http_date(headers.get("Date", "")) or now
    asked = parse_retry_after(headers.get("Retry-After"), now)
    if asked is not None:
        return asked
    try:
        remaining = float(headers.get("X-RateLimit-Remaining", ""))
        reset = float(headers.get("X-RateLimit-Reset", ""))
    except ValueError:
        return None
    left = reset - now.timestamp()
    return min(left, _LONGEST_RESET.total_seconds()) if remaining <= 0 < left else None


class ThrottleGate:
    """Holds the requests of one key (an account) back until the moment that an answer named. Thread-safe.

    Moments are spans since the boot, which nobody sets: a wall clock that is put right would hold requests for years.
    """

    def __init__(self, boot: BootClock, stop: Stop) -> None:
        self._boot = boot
        self._stop = stop
        self._open_at: dict[str, timedelta] = {}
        self._lock = threading.Lock()

    def hold(self, key: str, seconds: float) -> None:
        """Hold the key's next requests back for that long; an earlier, longer hold stays."""
        until = self._boot.read_boot().elapsed + timedelta(seconds=seconds)
        with self._lock:
            self._open_at[key] = max(until, self._open_at.get(key, until))

    def wait(self, key: str, deadline: timedelta) -> float:
        """Wait until the key may pass, and return 0; if that is after the deadline, return the seconds until then."""
        left = self._left(key)
        while left > 0 and self._boot.read_boot().elapsed + timedelta(seconds=left) <= deadline:
            self._stop.wait(left)
            left = self._left(key)
        return max(0.0, left)

    def _left(self, key: str) -> float:
        with self._lock:
            opens = self._open_at.get(key)
        return 0.0 if opens is None else (opens - self._boot.read_boot().elapsed).total_seconds()
