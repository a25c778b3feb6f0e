"""Counts this process's requests, behind the port RequestCounter."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from rotator.domain.request_count import RequestCounts, RequestOutcome, judge_answer


class ProcessRequestCounter:
    """Port RequestCounter: what was sent since it was last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, RequestOutcome]] = Counter()

    def make_listener(self, service: str) -> Callable[[int | None], None]:
        """Return what takes the HTTP status of each answer of a service, and None where there was none."""

        def note(status: int | None) -> None:
            with self._lock:
                self._counts[service, judge_answer(status)] += 1

        return note

    def take(self) -> RequestCounts:
        """See the port."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken

    def give_back(self, counts: RequestCounts) -> None:
        """See the port."""
        with self._lock:
            self._counts.update(counts)
