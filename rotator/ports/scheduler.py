"""What wakes the daemon's jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from rotator.domain.job_run import JobName


class Scheduler(Protocol):
    """Does each job when its span is over, in a thread of its own, never twice at once.

    Spans are those of the boot clock: a clock that is set back or on neither delays a job nor repeats it.
    """

    def start(self) -> None:
        """Begin to do what is scheduled."""

    def schedule(self, job: JobName, after: timedelta) -> None:
        """Do a job once that span is over, instead of when it was due. If it is at work now, it is done again."""

    def hasten(self, job: JobName, after: timedelta) -> None:
        """Do a job once that span is over, if it would be done later. One that is at work is left alone."""

    def check(self) -> bool:
        """Put right what a changed clock or a thread that died has disturbed; False when a thread had died.

        To be called every few seconds.
        """

    def stop(self) -> None:
        """Begin no job any more, and return when those at work are over."""
