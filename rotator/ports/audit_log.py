"""The hash chain of audit events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome


@dataclass(frozen=True)
class AuditFilter:
    """Which events are wanted: those that match everything that is not None.

    `since` includes its own moment, `until` does not.
    `authorization_id` is the PAT that an event names as such. No index helps to find it: name the event too.
    """

    since: datetime | None = None
    until: datetime | None = None
    subject: str | None = None
    event: str | None = None
    run_id: str | None = None
    outcome: Outcome | None = None
    actor: str | None = None
    authorization_id: str | None = None


EVERY_EVENT = AuditFilter()


class AuditLogReader(Protocol):
    """Reads the hash chain. Raises AuditChainError for an event that cannot be read, because it was altered."""

    def load(self, number: int) -> AuditEvent | None:
        """Return the event with that number."""

    def load_head(self) -> AuditEvent | None:
        """Return the newest event."""

    def load_newest_number(self) -> int:
        """Return the newest event's number, even if that event cannot be read; 0 for an empty log."""

    def find_first(self, but_for: Collection[str]) -> int | None:
        """Return the number of the first event that is none of these; None if there is none."""

    def count(self, events: Collection[str], after: int) -> Mapping[str, int]:
        """Return how many there are of each of these events after that number; none may be left out or 0."""

    def load_named(self, events: Collection[str], after: int, limit: int) -> tuple[AuditEvent, ...]:
        """Return the first `limit` of these events after that number, in order."""

    def load_newest(self, limit: int, wanted: AuditFilter = EVERY_EVENT) -> tuple[AuditEvent, ...]:
        """Return the newest `limit` of the wanted events, in order."""

    def load_after(self, number: int | None, limit: int, wanted: AuditFilter = EVERY_EVENT) -> Iterator[AuditEvent]:
        """Return the first `limit` wanted events after that number (None: from the beginning), in order.

        The events before an unreadable one are given before the error is raised.
        """

    def load_hashes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return number and hash of the first `limit` events after that number, in order, as they are stored."""

    def load_times(self, after: int, limit: int) -> Sequence[tuple[int, datetime]]:
        """Return number and time of the first `limit` events after that number, in order.

        Raises AuditChainError if a time cannot be read.
        """


class AuditLog(AuditLogReader, Protocol):
    """The hash chain. An event is appended in the same transaction as the change that it tells of."""

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """Append an event to the chain; no other writer appends at the same time."""

    def delete_archived(self, last: int, kept: Collection[str], limit: int) -> int:
        """Delete the first `limit` events up to that number, but for the `kept` ones; return how many were deleted.

        The database refuses it unless a `log_archived` of the log says that a file has them.
        """
