"""The hash chain of audit events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from rotator.domain.audit_event import AuditEntry, AuditEvent


class AuditLogReader(Protocol):
    """Reading the hash chain."""

    def load(
        self,
        *,
        since: datetime | None = None,
        subject: str | None = None,
        event: str | None = None,
        run_id: str | None = None,
    ) -> Iterator[AuditEvent]:
        """Events in order, filtered."""

    def load_head(self) -> AuditEvent | None:
        """The newest event."""


class AuditLog(AuditLogReader, Protocol):
    """The hash chain. Appending happens in the same transaction as what it tells."""

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """Chain an entry to the end, serialised against every other writer."""
