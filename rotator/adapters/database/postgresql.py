"""PostgreSQL as people run it: behind a pooler, beside a standby, over a network that loses its packets.

A pooler such as PgBouncer in its transaction mode gives each transaction another session of the server. So a session
is never relied on: what a transaction needs is set in it, for it alone; no statement is prepared; locks end with the
transaction. Of several hosts in the URL the one that can be written is used, and a connection is dropped when its
server turns out to be read-only, and when it has an age at which names may mean other servers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Select, TextualSelect, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from rotator.adapters.clock import read_uptime
from rotator.adapters.database.failures import UNSUPPORTED
from rotator.errors import DatabaseError

CONNECT_SECONDS = 10
QUICK_CONNECT_SECONDS = 2
"""How long a try to connect may take, and how long soon after one that failed."""
_AWAY_SECONDS = 15

OLDEST_CONNECTION = timedelta(minutes=10)
"""A connection that is older is replaced before its next transaction: after a failover its name means another host."""

STATEMENT_LIMIT = timedelta(minutes=1)
"""How long one statement may take. The engine reads and writes in pages; whatever takes longer does not move."""

ANSWER_LIMIT = timedelta(seconds=90)
"""How long to wait for any answer. The server should have cut a statement short long before: it stands still itself."""

IDLE_LIMIT = timedelta(minutes=1)
"""How long a session may do nothing inside a transaction, before the server ends it and undoes its work."""

WRITER_IDLE_LIMIT = timedelta(seconds=8)
"""The same where it may hold locks: a process that is frozen then keeps others for less long than they wait."""

_TIMELINE = """
    SELECT to_hex(system_identifier) || '/' || ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0')
    FROM pg_control_system()
"""
_READ_ONLY_SERVER = "25006"
_CLOCK = "rotator_clock"
_OPTIONS = {
    "target_session_attrs": "read-write",
    # In SQL_ASCII, which many a server has where no language is set, the driver makes no text of anything.
    "client_encoding": "utf8",
    # A prepared statement belongs to a session.
    "prepare_threshold": None,
    # A server that is gone without a word is noticed within a minute.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "40000",
}
"""What the driver is told where the URL says nothing else."""


def make_postgresql(url: URL, lock_wait: timedelta, answer_limit: timedelta, kept: int) -> Engine:
    """Return an engine whose transactions are begun by `begin_postgresql`. Nothing is opened yet; so many stay open."""
    try:
        engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",  # `begin_postgresql` begins each transaction, without a request of its own
            pool_size=kept,
            pool_recycle=OLDEST_CONNECTION // timedelta(seconds=1),
            pool_timeout=lock_wait.total_seconds(),
            hide_parameters=True,
            use_native_hstore=False,
        )
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs the package psycopg, which is not installed here",
            code="dependency_missing",
            fix="In rotator's source folder, run: pip install --require-hashes -r requirements.txt",
        ) from None
    event.listen(engine, "do_connect", QuickWhileAway(answer_limit=answer_limit))
    event.listen(engine, "after_cursor_execute", _take_last)
    event.listen(engine, "handle_error", _drop_read_only)
    return engine


def _take_last(_connection: Connection, cursor: Any, statement: str, *_: object) -> None:
    """Of several statements in one request the last one's answer counts."""
    while ";" in statement and cursor.nextset():
        pass


def make_first_statements(lock_wait: timedelta, statement_limit: timedelta) -> str:
    """Return what sets up one transaction, in one request: its limits (zero is none), and a commit that is on disk."""
    limits = {
        "lock_timeout": lock_wait,
        "statement_timeout": statement_limit,
        "idle_in_transaction_session_timeout": IDLE_LIMIT,
    }
    settings = [f"SET LOCAL {name} = {span // timedelta(milliseconds=1)}" for name, span in limits.items()]
    # An intent that a crash of the server can still lose is worth nothing.
    durable = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
    return "; ".join([*settings, "SET LOCAL timezone = 'UTC'", "SET LOCAL datestyle = 'ISO'", durable])


def begin_postgresql(connection: Connection, first_statements: str, *, reads_only: bool, found: str = "NULL") -> object:
    """Begin a transaction, set it up, and read the server's clock, in one request; return what is `found` by then.

    A connection that turns out to be gone or to stand still is replaced: nothing was done on it yet.
    """
    level = "REPEATABLE READ, READ ONLY" if reads_only else "READ COMMITTED"
    begin = f"BEGIN ISOLATION LEVEL {level}; {first_statements}; SELECT clock_timestamp(), ({found})"
    try:
        moment, known = connection.exec_driver_sql(begin).one()
    except DatabaseError:
        if not connection.invalidated:
            raise
        moment, known = connection.exec_driver_sql(begin).one()  # on a new one
    connection.info[_CLOCK] = moment.astimezone(UTC), read_uptime()
    return known


def find_moment(connection: Connection) -> datetime:
    """Return what time it is by the server: as it said when the transaction began, and what has passed since."""
    moment, uptime = connection.info[_CLOCK]
    found: datetime = moment + (read_uptime() - uptime)
    return found


def lock_and(lock: int, query: Select[Any], *, shared: bool = False) -> TextualSelect:
    """Return a statement that takes a lock and then, in the same request, reads what stands once it is held.

    Those who take it `shared` only keep out those who do not.
    """
    from sqlalchemy.dialects import postgresql

    make_dialect: Callable[[], Dialect] = postgresql.dialect
    written = query.compile(dialect=make_dialect(), compile_kwargs={"literal_binds": True})
    columns = {column.name: column.type for column in query.selected_columns}
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    return text(f"SELECT {function}({lock}); {written}").columns(**columns)


def find_timeline(connection: Connection) -> str | None:
    """Return which server this is, and its timeline: both in hexadecimal digits as its log files name them.

    A promoted standby begins a new timeline, and so does a server that was restored to a moment. None where a service
    that is merely like PostgreSQL, or its administrator, does not let us ask.
    """
    try:
        found = connection.exec_driver_sql(f"SAVEPOINT timeline; {_TIMELINE}").scalar_one()
    except DatabaseError as error:
        if error.code in ("database_denied", UNSUPPORTED):
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT timeline")
            return None
        raise
    return str(found)


def _drop_read_only(context: ExceptionContext) -> None:
    """Drop every connection when a server refuses a write because it is read-only: the next ones find the primary."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY_SERVER:
        context.is_disconnect = True


class QuickWhileAway:
    """Connects to PostgreSQL. Soon after a try that failed, the next ones wait for the server only briefly.

    So a run of hundreds of PATs does not wait in full for each of them when the server is away; after a while a full
    try follows, because a server that is merely slow would never be reached otherwise.
    """

    def __init__(
        self, seconds: Callable[[], float] = time.monotonic, *, answer_limit: timedelta = ANSWER_LIMIT
    ) -> None:
        self._seconds = seconds
        self._longest_wait = answer_limit.total_seconds() or None
        self._away_until = float("-inf")

    def __call__(
        self, _dialect: Dialect, _record: ConnectionPoolEntry, args: list[str], options: dict[str, Any]
    ) -> DBAPIConnection:
        """Connect as the library would, with timeouts."""
        from rotator.adapters.database.patience import PatientConnection

        for name, value in _OPTIONS.items():
            options.setdefault(name, value)
        options["connect_timeout"] = timeout = self.find_timeout()
        connection: Any = None  # the libraries describe the same thing in different words
        try:
            connection = PatientConnection.connect(*args, **options)
            connection.longest_wait = self._longest_wait
            made: DBAPIConnection = connection
            return made
        finally:
            self.note(timeout, is_connected=connection is not None)

    def find_timeout(self) -> int:
        """How many seconds the next try may take."""
        return QUICK_CONNECT_SECONDS if self._seconds() < self._away_until else CONNECT_SECONDS

    def note(self, timeout: int, *, is_connected: bool) -> None:
        """Learn how a try with that timeout ended."""
        if is_connected:
            self._away_until = float("-inf")
        elif timeout == CONNECT_SECONDS:
            self._away_until = self._seconds() + _AWAY_SECONDS
