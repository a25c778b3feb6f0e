"""What services asked to wait, for all processes that share a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rotator.domain.throttle import ThrottleHold


class ThrottlesReader(Protocol):
    """The holds of all keys, over or not."""

    def load(self) -> Mapping[str, ThrottleHold]:
        """Return them by key."""


class Throttles(ThrottlesReader, Protocol):
    """The same, with the means to write it. No claim is needed."""

    def save(self, key: str, hold: ThrottleHold) -> None:
        """Keep a hold in place of the one before."""
