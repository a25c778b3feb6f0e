"""Liveness is proven: each job has to give a sign of life by a moment of its own."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.job_run import JobName
from rotator.ports.clock import BootClock


class Beats:
    """By when each job must have been begun, made progress or ended. Any thread may call it."""

    def __init__(self, boot: BootClock) -> None:
        self._boot = boot
        self._until: dict[JobName, timedelta] = {}

    def expect(self, job: JobName, within: timedelta) -> None:
        """Note a sign of life; the next one is expected within that span."""
        self._until[job] = self._boot.read_boot().elapsed + within

    def allow(self, job: JobName, within: timedelta) -> None:
        """Expect no sign of life before that span is over, or later, if a later one is enough."""
        until = self._boot.read_boot().elapsed + within
        self._until[job] = max(until, self._until.get(job, until))

    def find_late(self) -> tuple[JobName, ...]:
        """Return the jobs whose sign of life is overdue."""
        elapsed = self._boot.read_boot().elapsed
        return tuple(job for job, until in list(self._until.items()) if elapsed > until)
