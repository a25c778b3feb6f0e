"""The longest lifetimes that the server has granted."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from rotator.adapters.database.engine import lock_topic
from rotator.adapters.database.schema import lifetime_limit as table


class SqlLifetimeLimitsReader:
    """The port LifetimeLimitsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> dict[tuple[str, str], timedelta]:
        """See the port."""
        rows = self._connection.execute(select(table.c.account, table.c.organization, table.c.longest))
        return {(row.account, row.organization): row.longest for row in rows}


class SqlLifetimeLimits(SqlLifetimeLimitsReader):
    """The port LifetimeLimits."""

    def save(self, account: str, organization: str, longest: timedelta, *, learned_at: datetime) -> None:
        """See the port. Serialised, so that two runs that learn the same limit do not insert it twice."""
        lock_topic(self._connection, "lifetime_limit")
        values = {"longest": longest, "learned_at": learned_at}
        mine = (table.c.account == account, table.c.organization == organization)
        if self._connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
            self._connection.execute(insert(table).values(account=account, organization=organization, **values))
