"""What services asked to wait: a row for each account, written in place."""

from __future__ import annotations

from sqlalchemy import Connection, select

from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.schema import throttle_hold as table
from rotator.domain.throttle import ThrottleHold


class SqlThrottlesReader:
    """The port ThrottlesReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> dict[str, ThrottleHold]:
        """See the port."""
        return {row.account: ThrottleHold(row.begun_at, row.until) for row in self._connection.execute(select(table))}


class SqlThrottles(SqlThrottlesReader):
    """The port Throttles."""

    def save(self, key: str, hold: ThrottleHold) -> None:
        """See the port."""
        values = {"account": key, **vars(hold)}
        insert = make_upsert(self._connection, table)
        self._connection.execute(
            insert.values(values).on_conflict_do_update(index_elements=[table.c.account], set_=values)
        )
