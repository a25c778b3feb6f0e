"""How long before its expiry a PAT is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from rotator.domain.words import say_duration


@dataclass(frozen=True)
class Threshold:
    """How long before its expiry a PAT is due: a share of its own lifetime (0 to 1), or a duration. One is set."""

    share: float | None = None
    duration: timedelta | None = None

    def before(self, lifetime: timedelta) -> timedelta:
        """Return the threshold for a PAT of this lifetime."""
        if self.duration is not None:
            return self.duration
        return _take_share(lifetime, self.share or 0.0)

    def leave_time(self, lifetime: timedelta, least: timedelta) -> timedelta:
        """Return the threshold for a PAT of this lifetime whose overlap needs so much at least, with time for retries.

        A share of a short lifetime may be less: then consumers would keep the old PAT beyond its end. So a share is
        this much, where that is at most half of the lifetime. A duration is what a person has chosen.
        """
        return max(self.before(lifetime), timedelta(0) if self.duration is not None else min(least, lifetime / 2))

    def __str__(self) -> str:
        return say_duration(self.duration) if self.duration is not None else f"{(self.share or 0) * 100:g}%"


@lru_cache(maxsize=1000)
def _take_share(span: timedelta, share: float) -> timedelta:
    return span * share
