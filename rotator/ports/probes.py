"""The probes: what is known of the value of each ManagedPat, and when it is tried next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.probe import Probe


class ProbesReader(Protocol):
    """Reads them."""

    def count(self) -> int:
        """Return how many records have a PAT."""

    def load_due(self, now: datetime, horizon: datetime, limit: int) -> tuple[tuple[ManagedPat, Probe | None], ...]:
        """Return at most so many records whose value is to be tried now, each with what is known of it.

        Those that were never tried first, then those that have waited longest. What is entered for later than
        `horizon` was entered by a clock that was ahead, and is due. Without a PAT, or claimed, a record is never due.
        """

    def load_results(self, names: Collection[str] | None = None) -> Mapping[str, bool]:
        """Return by name whether the value works of each current PAT, where that is known: of all, or of these."""


class Probes(ProbesReader, Protocol):
    """The same, with the means to enter what a try showed. No claim is needed."""

    def save(self, record_id: str, probe: Probe) -> bool:
        """Enter it. False, and nothing is written, when another PAT is the current one of the record by now."""
