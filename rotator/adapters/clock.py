"""The host's time and randomness, behind the ports Clock and Entropy."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """Return the current moment, aware, UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """The operating system's randomness."""

    def make_id(self) -> str:
        """Return a new unique id: 32 hex digits."""
        return uuid.uuid4().hex

    def pick(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + secrets.randbelow(high - low + 1)
