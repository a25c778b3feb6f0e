"""Randomness as the engine sees it."""

from __future__ import annotations

from typing import Protocol


class Entropy(Protocol):
    """Randomness; a simulation replaces it to repeat a run exactly."""

    def make_id(self) -> str:
        """Return a new unique id: 32 hex digits."""

    def pick(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
