"""The longest lifetimes that the server has granted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class LifetimeLimitsReader(Protocol):
    """The longest lifetime that each account was granted in each organization, learned from clamped mints."""

    def load(self) -> dict[tuple[str, str], timedelta]:
        """Return them by (account, organization)."""


class LifetimeLimits(LifetimeLimitsReader, Protocol):
    """The same, with the means to save what is learned."""

    def save(self, account: str, organization: str, longest: timedelta, *, learned_at: datetime) -> None:
        """Remember a limit."""
