"""The longest lifetimes that the server has granted."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.limit import LifetimeLimit


class LifetimeLimitsReader(Protocol):
    """The longest lifetime that each account was granted in each organization, learned from clamped mints."""

    def load(self) -> dict[tuple[str, str], LifetimeLimit]:
        """Return them by (account, organization)."""


class LifetimeLimits(LifetimeLimitsReader, Protocol):
    """The same, with the means to save what is learned."""

    def save(self, account: str, organization: str, limit: LifetimeLimit) -> None:
        """Remember a limit, in place of the one before."""

    def forget(self, account: str, organization: str) -> None:
        """Forget a limit; does nothing if there is none."""
