"""Time as the engine sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the engine sees it; tests advance it."""

    def now(self) -> datetime:
        """The current moment, aware, UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
