"""What ran when: the runs of jobs, and the heartbeats of daemons."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from rotator.domain.job_run import Failures, Heartbeat, JobName, JobOutcome, JobRun


class JobRunsReader(Protocol):
    """What ran when. `until` leaves out what a clock that was ahead has written."""

    def find_last(self, job: JobName, until: datetime, outcome: JobOutcome | None = None) -> JobRun | None:
        """Return the newest run of a job that began by then, of any outcome or of this one; None when there is none."""

    def count_failures(self, job: JobName, after: datetime | None, until: datetime) -> Failures:
        """Count the runs of a job that failed, of the periods after one moment and up to another."""

    def find_first_raised(self, job: JobName, until: datetime) -> datetime | None:
        """Return when the first began of the newest runs that an error ended one after the other; None: there is none.

        A run that is no success because a place is down ended without one.
        """

    def load_heartbeats(self) -> tuple[Heartbeat, ...]:
        """Return the last heartbeat of each daemon, the newest first."""


class JobRuns(JobRunsReader, Protocol):
    """The same, with the means to write it. No claim is needed."""

    def begin(self, run: JobRun) -> bool:
        """Note that a job begins. False when another process has done its period, or is at it: then nothing is written.

        A period that was begun and not done by a process that is gone, or that failed, is begun anew.
        """

    def end(self, run: JobRun) -> None:
        """Note how a run ended, whether its beginning was noted or not; forget older ones than `KEPT_FOR`."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Replace the heartbeat of its holder, in place."""

    def end_silent(self, holders: Collection[str], before: datetime, now: datetime) -> tuple[Heartbeat, ...]:
        """Note the end of each of these daemons that did not stop, and whose claims had ended by then.

        Return those that nobody noted yet.
        """

    def forget_heartbeats(self, before: datetime) -> None:
        """Forget the daemons that did not beat since then."""
