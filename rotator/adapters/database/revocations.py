"""The pending revocations: one row each, until they are proven."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Column, Connection, Select, delete, select, update

from rotator.adapters.database.claims import check_fence
from rotator.adapters.database.engine import make_shares, make_upsert
from rotator.adapters.database.records import PENDING_REVOCATION_COLUMNS, list_pending, make_pending
from rotator.adapters.database.schema import pending_revocation as table
from rotator.domain.pending_revocation import PendingRevocation
from rotator.ports.claims import Claim


class SqlRevocationsReader:
    """The port RevocationsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return self._load(select(*PENDING_REVOCATION_COLUMNS))

    def load_for(self, names: Collection[str]) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return self._load_in(table.c.name, names)

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return self._load_in(table.c.authorization_id, authorization_ids)

    def _load_in(self, column: Column[str], values: Collection[str]) -> tuple[PendingRevocation, ...]:
        shares = make_shares(values)
        return self._load(*(select(*PENDING_REVOCATION_COLUMNS).where(column.in_(share)) for share in shares))

    def _load(self, *queries: Select[tuple[object, ...]]) -> tuple[PendingRevocation, ...]:
        rows = (row for query in queries for row in self._connection.execute(query))
        return tuple(sorted((make_pending(row) for row in rows), key=order_pending))


class SqlRevocations(SqlRevocationsReader):
    """The port Revocations."""

    def save(self, pending: PendingRevocation, claim: Claim) -> None:
        """See the port."""
        values = list_pending(pending) | {"record_id": check_fence(self._connection, claim, pending.name)}
        insert = make_upsert(self._connection, table)
        self._connection.execute(insert.values(values).on_conflict_do_update(index_elements=[table.c[0]], set_=values))

    def note_missed(self, authorization_id: str, at: datetime | None) -> None:
        """See the port."""
        mine = table.c.authorization_id == authorization_id
        self._connection.execute(update(table).where(mine).values(missed_at=at))

    def redate(self, after: datetime, at: datetime) -> None:
        """See the port."""
        for column in (table.c.since, table.c.requested_at, table.c.missed_at):
            self._connection.execute(update(table).where(column > after).values({column: at}))

    def end(self, authorization_id: str) -> bool:
        """See the port."""
        return self._connection.execute(delete(table).where(table.c.authorization_id == authorization_id)).rowcount > 0


def order_pending(pending: PendingRevocation) -> tuple[datetime, str]:
    """Return the sort key of `load`."""
    return pending.since, pending.authorization_id
