"""The host's time and randomness, behind the ports Clock, BootClock and Entropy."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rotator.domain.clocks import BootMoment

_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_uptime() -> timedelta:
    """Return how long the host has been up, by the kernel's boot clock."""
    return timedelta(microseconds=time.clock_gettime_ns(_BOOT_CLOCK) // 1000)


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """Return the current moment, aware, UTC."""
        return datetime.now(UTC)


class SystemBootClock:
    """The kernel's boot clock: it runs on while the host is suspended, and nobody sets it.

    Where the kernel names no boot, each process counts as one of its own.
    """

    def __init__(self, boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> None:
        try:
            self._boot_id = boot_id_file.read_text(encoding="ascii").strip()
        except OSError:
            self._boot_id = uuid.uuid4().hex

    def read_boot(self) -> BootMoment:
        """See the port."""
        return BootMoment(self._boot_id, read_uptime())


class SystemEntropy:
    """The operating system's randomness."""

    def make_id(self) -> str:
        """Return a new unique id: 32 hex digits."""
        return uuid.uuid4().hex

    def pick(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + secrets.randbelow(high - low + 1)
