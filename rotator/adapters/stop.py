"""The one stop of this process, behind the port Stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rotator.errors import StoppedError


class ProcessStop:
    """Port Stop. `set` may be called from any thread, but not from a signal handler: it takes a lock.

    `seconds` measures spans, and `pause` waits for an event and returns whether it is set; tests replace both.
    """

    def __init__(
        self,
        *,
        seconds: Callable[[], float] = time.monotonic,
        pause: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._seconds = seconds
        self._pause = pause
        self._event = threading.Event()
        self._never = threading.Event()
        self._lock = threading.Lock()
        self._set_at = 0.0
        self._spans: dict[int, float] = {}
        """How long each thread inside `finishing` may continue after the stop, while it is one of `_holding`."""
        self._holding: set[int] = set()

    @property
    def is_set(self) -> bool:
        """Whether the stop was set."""
        return self._event.is_set()

    def set(self) -> int:
        """Stop all work, for good. Returns how many threads hold a value that they may still bring to the vault."""
        with self._lock:
            if not self._event.is_set():
                self._set_at = self._seconds()
                self._event.set()
            return len(self._holding)

    def check(self) -> None:
        """See the port."""
        if self._event.is_set() and self._left() <= 0:
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """See the port."""
        self.check()
        until, rest = self._seconds() + seconds, seconds
        if not self._event.is_set():
            if rest <= 0 or not self._pause(self._event, rest):
                return
            rest = until - self._seconds()
        if rest > self._left():
            raise StoppedError
        # This thread is finishing: only the end of the wait ends it now.
        self._pause(self._never, max(0.0, rest))

    @contextmanager
    def finishing(self, within: timedelta) -> Iterator[None]:
        """See the port."""
        with self._lock:
            self.check()
            self._spans[threading.get_ident()] = within.total_seconds()
            self._holding.add(threading.get_ident())
        try:
            yield
        finally:
            self.end_finishing()
            self._spans.pop(threading.get_ident())

    def end_finishing(self) -> None:
        """See the port."""
        with self._lock:
            self._holding.discard(threading.get_ident())

    def begin_finishing(self) -> None:
        """See the port."""
        with self._lock:
            self.check()
            if threading.get_ident() in self._spans:
                self._holding.add(threading.get_ident())

    def _left(self) -> float:
        """Return how many seconds this thread may still continue after the stop."""
        ident = threading.get_ident()
        return self._set_at + self._spans[ident] - self._seconds() if ident in self._holding else 0.0
