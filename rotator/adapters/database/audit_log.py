"""The hash chain of audit events. The database itself refuses to change or delete a row (triggers of the migration)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from rotator.adapters.database.engine import lock_topic
from rotator.adapters.database.schema import audit_event as table
from rotator.domain.audit_event import AuditEntry, AuditEvent, make_event

_BATCH = 1000
# Made once: building a statement costs the library more than executing it does.
_APPEND = insert(table)
_LOAD_HEAD = select(table).order_by(table.c.sequence.desc()).limit(1)


class SqlAuditLogReader:
    """The port AuditLogReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(
        self,
        *,
        since: datetime | None = None,
        subject: str | None = None,
        event: str | None = None,
        run_id: str | None = None,
    ) -> Iterator[AuditEvent]:
        """See the port. Streamed: valid inside the transaction only, and never the whole log in memory."""
        query = select(table).order_by(table.c.sequence).execution_options(yield_per=_BATCH)
        if since is not None:
            query = query.where(table.c.occurred_at >= since)
        for column, wanted in ((table.c.subject, subject), (table.c.event, event), (table.c.run_id, run_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._connection.execute(query) as rows:
            for row in rows:
                yield _make_event(row)

    def load_head(self) -> AuditEvent | None:
        """See the port."""
        row = self._connection.execute(_LOAD_HEAD).one_or_none()
        return None if row is None else _make_event(row)


class SqlAuditLog(SqlAuditLogReader):
    """The port AuditLog."""

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """See the port.

        The end of a chain is no row that FOR UPDATE could hold against an insert after it, so PostgreSQL takes an
        advisory lock, until the transaction ends: numbers have no gaps, and a rollback leaves none.
        """
        lock_topic(self._connection, "audit")
        event = make_event(entry, previous=self.load_head(), occurred_at=occurred_at.astimezone(UTC))
        self._connection.execute(
            _APPEND,
            {
                "sequence": event.sequence,
                "occurred_at": event.occurred_at,
                "event": entry.event,
                "subject": entry.subject,
                "outcome": entry.outcome,
                "actor": entry.actor,
                "run_id": entry.run_id,
                "details": entry.details,
                "previous_hash": event.previous_hash,
                "hash": event.hash,
            },
        )
        return event


def _make_event(row: Row[Any]) -> AuditEvent:
    entry = AuditEntry(row.event, row.subject, row.outcome, row.actor, row.run_id, row.details)
    return AuditEvent(row.sequence, row.occurred_at, entry, row.previous_hash, row.hash)
