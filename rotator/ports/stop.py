"""The one stop of a process, as its work sees it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Protocol


class Stop(Protocol):
    """Once set, work ends: whoever checks or waits gets StoppedError. Thread-safe.

    The one exception is a thread inside `finishing`: it continues until it is done, or until its time is over.
    """

    def check(self) -> None:
        """Raise StoppedError when this thread must end its work."""

    def wait(self, seconds: float) -> None:
        """Return after that many seconds. StoppedError as soon as this thread must end its work.

        Inside `finishing` it is raised immediately when the wait would outlast the time that is left.
        """

    def finishing(self, within: timedelta) -> AbstractContextManager[None]:
        """Hold a value that exists only in memory: after a stop this thread may continue for that long.

        Entering it raises StoppedError if the stop is already set.
        """

    def end_finishing(self) -> None:
        """Say that there is no such value, or that it was given up: from now on this thread stops like any other."""

    def begin_finishing(self) -> None:
        """Say that a request leaves now that makes such a value: inside `finishing` this thread may continue again.

        StoppedError when it must end its work. Outside `finishing` it is a check.
        """
