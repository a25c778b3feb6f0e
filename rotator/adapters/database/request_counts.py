"""How many requests were sent: a row for each service and outcome, added to in place."""

from __future__ import annotations

from sqlalchemy import Connection, select

from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.schema import request_count as table
from rotator.domain.request_count import RequestCounts


class SqlRequestCountsReader:
    """The port RequestCountsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> RequestCounts:
        """See the port."""
        return {(row.service, row.outcome): row.requests for row in self._connection.execute(select(table))}


class SqlRequestCounts(SqlRequestCountsReader):
    """The port RequestCountsWriter."""

    def add(self, counts: RequestCounts) -> None:
        """See the port. In one order: of two processes that add at once, one waits for the other."""
        insert = make_upsert(self._connection, table)
        more = {"requests": table.c.requests + insert.excluded.requests}
        statement = insert.on_conflict_do_update(index_elements=[table.c.service, table.c.outcome], set_=more)
        for (service, outcome), requests in sorted(counts.items()):
            self._connection.execute(statement, {"service": service, "outcome": outcome, "requests": requests})
