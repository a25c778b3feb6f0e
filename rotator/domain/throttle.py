"""How long a service asked the requests of a user to wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW

LONGEST_HOLD = timedelta(hours=1)
"""No hold lasts longer, whatever a service or a wrong clock says."""


@dataclass(frozen=True)
class ThrottleHold:
    """Requests of one key (an account) are held back from one moment to another, by the database's clock."""

    begun_at: datetime
    until: datetime

    def find_left(self, now: datetime) -> timedelta:
        """Return how long it still lasts. One that begins later does not count: the clock that wrote it was ahead."""
        if self.begun_at > now + MOST_SKEW:
            return timedelta(0)
        return max(timedelta(0), min(self.until - now, LONGEST_HOLD))
