"""The pending revocations: one row each, until they are proven."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, select, update

from rotator.adapters.database.claims import check_fence
from rotator.adapters.database.engine import make_shares, make_upsert
from rotator.adapters.database.records import PENDING_REVOCATION_COLUMNS, list_pending, make_pending
from rotator.adapters.database.schema import pending_revocation as table
from rotator.domain.pending_revocation import PendingRevocation
from rotator.ports.claims import Claim

# Made once: building a statement costs the library more than executing it does.
_LOAD = select(*PENDING_REVOCATION_COLUMNS)
_LOAD_FOR = _LOAD.where(table.c.name.in_(bindparam("values", expanding=True)))
_LOAD_BY_IDS = _LOAD.where(table.c.authorization_id.in_(bindparam("values", expanding=True)))
_END = delete(table).where(table.c.authorization_id == bindparam("ended_id"))


class SqlRevocationsReader:
    """The port RevocationsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return _sort(self._connection.execute(_LOAD))

    def load_for(self, names: Collection[str]) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return self._load_in(_LOAD_FOR, names)

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[PendingRevocation, ...]:
        """See the port."""
        return self._load_in(_LOAD_BY_IDS, authorization_ids)

    def _load_in(self, query: Select[Any], values: Collection[str]) -> tuple[PendingRevocation, ...]:
        shares = make_shares(values)
        return _sort(row for share in shares for row in self._connection.execute(query, {"values": share}))


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
        return self._connection.execute(_END, {"ended_id": authorization_id}).rowcount > 0


def _sort(rows: Iterable[Row[Any]]) -> tuple[PendingRevocation, ...]:
    return tuple(sorted((make_pending(row) for row in rows), key=order_pending))


def order_pending(pending: PendingRevocation) -> tuple[datetime, str]:
    """Return the sort key of `load`."""
    return pending.since, pending.authorization_id
