"""A connection to PostgreSQL that gives up on a server that stands still.

The server's own limits end with it: a disk that hangs, a suspended host or a pooler without servers keeps a statement
for ever, and the network below sees nothing wrong.
"""

from __future__ import annotations

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

_LOOK_SECONDS = 0.1


class PatientConnection(psycopg.Connection[TupleRow]):
    """Waits `longest_wait` seconds for each answer, then closes itself with OperationalError. None is no limit."""

    longest_wait: float | None = None

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
