"""Liveness is proven: each job has to give a sign of life by a moment of its own."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.job_run import JobName
from rotator.ports.clock import BootClock

GRACE = timedelta(minutes=2)
"""How late a job may begin before it counts as stuck, where no service manager names a span of its own."""


class Beats:
    """By when each job must have been begun, made progress or ended. Any thread may call it."""

    def __init__(self, boot: BootClock, grace: timedelta | None = None) -> None:
        self._boot = boot
        self._grace = grace or GRACE
        self._until: dict[JobName, timedelta] = {}

    def expect(self, job: JobName, within: timedelta) -> None:
        """Note a sign of life; the next one is expected within that span."""
        self._until[job] = self._boot.read_boot().elapsed + within

    def expect_start(self, job: JobName, after: timedelta) -> None:
        """Note that a job is over, and will begin again after that span."""
        self.expect(job, after + self._grace)

    def allow_start(self, job: JobName, after: timedelta) -> None:
        """Note that a job is to begin after that span. If it is at work, it keeps the time that it has."""
        until = self._boot.read_boot().elapsed + after + self._grace
        self._until[job] = max(until, self._until.get(job, until))

    def find_late(self) -> tuple[JobName, ...]:
        """Return the jobs whose sign of life is overdue."""
        elapsed = self._boot.read_boot().elapsed
        return tuple(job for job, until in list(self._until.items()) if elapsed > until)
