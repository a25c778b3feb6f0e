"""The queue: when a run next has work to do on each ManagedPat."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rotator.domain.managed_pat import ManagedPat


@dataclass(frozen=True)
class Entry:
    """When a run next has work to do on a ManagedPat; never, as things are, when `next_at` is None.

    It was computed by `basis`, and holds from `since` on.
    """

    next_at: datetime | None
    basis: str
    since: datetime


@dataclass(frozen=True)
class Basis:
    """What entries are computed by now, as texts that differ when it does; both are lower case hexadecimal digits.

    `plain` is of the policy and the settings. `limited` goes on with what was learned of the servers' limits; it is the
    basis of those entries that a limit puts off. An entry of another basis is stale, and so is one that was computed
    after `horizon`, by a clock that was ahead. `plain` begins with `policy`, which is of what people wrote into files.
    """

    plain: str
    limited: str
    horizon: datetime
    policy: str


class QueueReader(Protocol):
    """Reads the queue. Each question is answered by an index."""

    def load_due(self, now: datetime) -> tuple[ManagedPat, ...]:
        """Return the records whose moment has come, those that expire first first. A claim makes a record due."""

    def find_next(self, after: datetime) -> datetime | None:
        """Return the earliest moment after that one; None when there is none."""

    def find_stale(self, basis: Basis, limit: int) -> tuple[str, ...]:
        """Return the names of at most so many records whose entry is stale, and which nobody has claimed.

        A new record has a stale entry.
        """

    def find_newest_other(self, policy: str) -> datetime | None:
        """Return from when on the newest entry holds whose basis begins with another policy; None if there is none."""


class Queue(QueueReader, Protocol):
    """The same, with the means to enter moments. Every claim makes its record due, so that no change is missed."""

    def load_free(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        """Return those of these records that nobody has claimed, by name.

        Nobody changes or claims them until the transaction ends; one that another transaction changes is left out.
        """

    def save(self, name: str, entry: Entry) -> None:
        """Enter it, in place of the one before. Only where nobody else can have the claim on that record."""
