"""Waits for as long as the service asks, together with every other thread of the same account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from rotator.adapters.http_dates import read_http_date
from rotator.adapters.retry_after import parse_retry_after
from rotator.domain.throttle import ThrottleHold
from rotator.errors import DatabaseError
from rotator.ports.clock import BootClock
from rotator.ports.database import Database
from rotator.ports.stop import Stop

_LONGEST_RESET = timedelta(seconds=30)
_READ_EVERY = timedelta(seconds=1)
_READ_LATER = timedelta(seconds=30)
"""After a read that failed."""
_NOTICED = timedelta(seconds=5)
"""A shorter wait is not worth a line in the log."""
_SAME = timedelta(seconds=1)
"""Two holds that end within this span are one: it is written once."""


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


class SharedHolds:
    """What this process and others were asked to wait, in their database.

    It is read before a request, once a second at most; while the database fails, each process knows its own only.
    """

    def __init__(self, database: Database, boot: BootClock) -> None:
        self._database, self._boot = database, boot
        self._next_at = timedelta(0)
        self._lock = threading.Lock()

    def save(self, key: str, span: timedelta) -> None:
        """Let others know of a hold, unless they know one that is no shorter."""
        with suppress(DatabaseError), self._database.begin() as work:
            now, known = work.now(), work.throttles.load().get(key)
            if known is None or known.find_left(now) < span:
                work.throttles.save(key, ThrottleHold(now, now + span))

    def load_anew(self) -> Mapping[str, timedelta]:
        """Return how long each key is still held back; nothing if that was read within the last second."""
        now = self._boot.read_boot().elapsed
        with self._lock:
            if now < self._next_at:
                return {}
            self._next_at = now + _READ_EVERY
        try:
            with self._database.read() as reading:
                moment = reading.now()
                return {key: hold.find_left(moment) for key, hold in reading.throttles.load().items()}
        except DatabaseError:
            with self._lock:
                self._next_at = now + _READ_LATER
            return {}


class ThrottleGate:
    """Holds the requests of one key (an account) back until the moment that an answer named. Thread-safe.

    Moments are spans since the boot, which nobody sets: a wall clock that is put right would hold requests for years.
    `tell` hears of each hold that a request meets, once: of which key, and for how long.
    """

    def __init__(
        self,
        boot: BootClock,
        stop: Stop,
        shared: SharedHolds | None = None,
        tell: Callable[[str, timedelta], None] = lambda key, span: None,
    ) -> None:
        self._boot = boot
        self._stop = stop
        self._shared = shared
        self._tell = tell
        self._open_at: dict[str, timedelta] = {}
        self._told: dict[str, timedelta] = {}
        self._lock = threading.Lock()

    def hold(self, key: str, seconds: float) -> None:
        """Hold the key's next requests back for that long; an earlier, longer hold stays."""
        span = timedelta(seconds=seconds)
        if self._hold(key, span) and self._shared is not None:
            self._shared.save(key, span)

    def _hold(self, key: str, span: timedelta) -> bool:
        """Hold the key back, and return whether that is news: longer than what it is held back for already."""
        until = self._boot.read_boot().elapsed + span
        with self._lock:
            before = self._open_at.get(key)
            is_news = span > timedelta(0) and (before is None or until > before + _SAME)
            self._open_at[key] = max(until, before or until)
        return is_news

    def wait(self, key: str, deadline: timedelta) -> float:
        """Wait until the key may pass, and return 0; if that is after the deadline, return the seconds until then."""
        if self._shared is not None:
            for held, span in self._shared.load_anew().items():
                self._hold(held, span)
        left = self._left(key)
        self._tell_once(key, left)
        while left > 0 and self._boot.read_boot().elapsed + timedelta(seconds=left) <= deadline:
            self._stop.wait(left)
            left = self._left(key)
            self._tell_once(key, left)
        return max(0.0, left)

    def _tell_once(self, key: str, left: float) -> None:
        """Tell of a hold that a request meets, if it is long enough to be noticed, and was not told before."""
        if left < _NOTICED.total_seconds():
            return
        with self._lock:
            until, told = self._open_at[key], self._told.get(key)
            is_news = told is None or until > told + _SAME
            if is_news:
                self._told[key] = until
        if is_news:
            self._tell(key, timedelta(seconds=left))

    def _left(self, key: str) -> float:
        with self._lock:
            opens = self._open_at.get(key)
        return 0.0 if opens is None else (opens - self._boot.read_boot().elapsed).total_seconds()
