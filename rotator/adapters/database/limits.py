"""The longest lifetimes that the server has granted."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from rotator.adapters.database.engine import lock_topic
from rotator.adapters.database.schema import lifetime_limit as table
from rotator.domain.limit import LifetimeLimit

_LOAD = select(table)  # made once


class SqlLifetimeLimitsReader:
    """The port LifetimeLimitsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> dict[tuple[str, str], LifetimeLimit]:
        """See the port."""
        rows = self._connection.execute(_LOAD)
        return {(row.account, row.organization): LifetimeLimit(row.longest, row.learned_at) for row in rows}


class SqlLifetimeLimits(SqlLifetimeLimitsReader):
    """The port LifetimeLimits."""

    def save(self, account: str, organization: str, limit: LifetimeLimit) -> None:
        """See the port. Serialised, so that two runs that learn the same limit do not insert it twice."""
        lock_topic(self._connection, "lifetime_limit")
        values = {"longest": limit.longest, "learned_at": limit.learned_at}
        mine = (table.c.account == account, table.c.organization == organization)
        if self._connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
            self._connection.execute(insert(table).values(account=account, organization=organization, **values))

    def forget(self, account: str, organization: str) -> None:
        """See the port."""
        lock_topic(self._connection, "lifetime_limit")
        mine = (table.c.account == account, table.c.organization == organization)
        self._connection.execute(delete(table).where(*mine))
