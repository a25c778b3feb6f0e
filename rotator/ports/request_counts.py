"""How many requests were sent, by every process since the installation began."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.request_count import RequestCounts


class RequestCountsReader(Protocol):
    """The counts."""

    def load(self) -> RequestCounts:
        """Return them; a service and outcome without a request may be left out."""


class RequestCountsWriter(RequestCountsReader, Protocol):
    """The same, with the means to add to them. No claim is needed."""

    def add(self, counts: RequestCounts) -> None:
        """Add what a process counted since it last did."""


class RequestCounter(Protocol):
    """What this process counted and has not added to the database yet. Thread-safe."""

    def take(self) -> RequestCounts:
        """Return the counts, and begin anew."""

    def give_back(self, counts: RequestCounts) -> None:
        """Count these again: they could not be added."""
