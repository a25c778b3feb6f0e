"""Time as the engine sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the engine sees it; tests advance it. Waiting belongs to `ports.stop`."""

    def now(self) -> datetime:
        """Return the current moment, aware, UTC."""
