"""A job, and all that the jobs work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rotator.domain.job_run import JobName
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult
from rotator.errors import RotatorError


@dataclass(frozen=True)
class Job:
    """One line of the table of jobs.

    `interval` is how long after its end it is done again. `budget` is the longest that it may be at work without a sign
    of progress. `is_shared`: of several daemons one does each period, and leaves it in the database.
    """

    name: JobName
    interval: timedelta
    budget: timedelta
    is_shared: bool
    act: Callable[[RunContext], JobResult]


class Monitor(Protocol):
    """Tells the monitoring outside what becomes of the jobs. What goes wrong with that is told, and raises nothing."""

    def note_start(self, job: JobName, run: RunContext) -> None:
        """Note that a job begins."""

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """Note how a job ended."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: `exit_code` as a command's, None after a stop; `error` if one ended it."""

    exit_code: int | None
    error: RotatorError | None = None


class NoMonitor:
    """Nobody wants to know."""

    def note_start(self, job: JobName, run: RunContext) -> None:
        """See Monitor."""

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """See Monitor."""


@dataclass(frozen=True)
class Workshop:
    """All that the jobs work with, built whole from the settings. `needs_restart` names what only a restart renews."""

    jobs: Mapping[JobName, Job]
    make_run: Callable[[], RunContext]
    close: Callable[[], None]
    stop_within: timedelta
    needs_restart: tuple[str, ...] = ()
    monitor: Monitor = field(default_factory=NoMonitor)


class Workshops:
    """The current workshop. One that was replaced is closed when the last job that works with it is over."""

    def __init__(self, first: Workshop) -> None:
        self._lock = threading.Lock()
        self._current = first
        self._users = {id(first): 0}

    @property
    def current(self) -> Workshop:
        """The one that the next job gets."""
        return self._current

    @contextmanager
    def hold(self) -> Iterator[Workshop]:
        """Work with the current one, which stays open meanwhile."""
        with self._lock:
            shop = self._current
            self._users[id(shop)] += 1
        try:
            yield shop
        finally:
            with self._lock:
                self._users[id(shop)] -= 1
                is_left = shop is not self._current and self._users[id(shop)] == 0
            if is_left:
                self._close(shop)

    def swap(self, new: Workshop) -> None:
        """Make another one the current one."""
        with self._lock:
            old, self._current = self._current, new
            self._users[id(new)] = 0
            is_free = self._users[id(old)] == 0
        if is_free:
            self._close(old)

    def close(self) -> None:
        """Close the current one; no job may be at work."""
        self._current.close()

    def _close(self, shop: Workshop) -> None:
        del self._users[id(shop)]
        shop.close()
