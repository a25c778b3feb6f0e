"""A connection to PostgreSQL that gives up on a server that stands still.

The server's own limits end with it: a disk that hangs, a suspended host or a pooler without servers keeps a statement
for ever, and the network below sees nothing wrong.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow

_LOOK_SECONDS = 0.1


class PlainCursor(psycopg.Cursor[TupleRow]):
    """Describes its columns by their names and types alone: more takes as long as fetching one row of them."""

    @property
    def description(self) -> Any:
        """Return that for each column, as the standard for drivers wants it; None where there is no row to fetch."""
        found = self.pgresult
        if found is None or found.status != ExecStatus.TUPLES_OK:
            return None
        rest = (None,) * 5
        return [((found.fname(at) or b"").decode(), found.ftype(at), *rest) for at in range(found.nfields)]


class PatientConnection(psycopg.Connection[TupleRow]):
    """Waits `longest_wait` seconds for each answer, then closes itself with OperationalError. None is no limit."""

    longest_wait: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = PlainCursor

    def rollback(self) -> None:
        """As the library's, which waits even where there is nothing to undo: after each transaction."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def wait(self, gen: PQGen[RV], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> RV:
        """As the library's."""
        try:
            return super().wait(gen, interval, self.longest_wait if timeout is None else timeout)
        except psycopg.OperationalError as error:
            # What the server reports, or a broken connection, leaves nothing to wait for.
            if timeout is not None or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer from the server within {self.longest_wait:g} seconds") from error
