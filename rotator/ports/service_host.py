"""The service manager that started the process, as far as the daemon speaks to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class ServiceHost(Protocol):
    """Hears how the daemon is. Nothing is raised when nobody listens."""

    @property
    def watchdog(self) -> timedelta | None:
        """How often it wants proof that the daemon lives; None when it wants none."""

    def tell_ready(self, status: str) -> None:
        """Say that the start, or a reload, is over."""

    def tell_reloading(self) -> None:
        """Say that a reload begins."""

    def tell_stopping(self, status: str, within: timedelta) -> None:
        """Say that the daemon stops, and how long that may take."""

    def tell_status(self, status: str) -> None:
        """Say in one line how things stand. The same line again is not sent."""

    def tell_alive(self) -> None:
        """Give the proof that the daemon lives."""
