"""How connections are made, so that a committed transaction is on disk and two writers never overlap silently.

SQLite: the driver's own transaction handling is switched off and every transaction that writes starts with BEGIN
IMMEDIATE. The default (a deferred transaction) lets two readers both decide to write, and one's work is lost without
an error. A transaction that only reads is deferred, with `query_only`: in WAL mode it sees what was committed when it
began, and takes no lock that a writer needs. `synchronous=full` makes a commit durable, which the journal relies on.

PostgreSQL: READ COMMITTED; what only reads is REPEATABLE READ, READ ONLY. What is read in order to be changed is read
with FOR UPDATE, and what has no row to lock (the end of the audit chain) is serialised by an advisory lock that ends
with the transaction. SERIALIZABLE would need a retry around every use case; a session-level
advisory lock would leak into the pool.

The order of locks, the same in every transaction, so that none waits for one that waits for it:
1. the records (managed_pat) that it claims, renews or loads to change, several in the order of their names;
2. the topics "mints", "lifetime_limit" and "untracked:...", the rows of the journal, and the pending revocations;
3. "audit": the events come last, with the conditions that begin and end by them, because nobody else can write an event
   until the transaction ends. The fake database of the tests refuses any other write after an event.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from rotator.adapters.database.failures import explain
from rotator.errors import DatabaseError

LOCK_WAIT = timedelta(seconds=10)
"""How long to wait for any lock before raising DatabaseLockedError."""

CONNECT_SECONDS = 10
QUICK_CONNECT_SECONDS = 2
"""How long a try to connect may take, and how long soon after one that failed."""
_AWAY_SECONDS = 15
_READS_ONLY = "rotator_reads_only"

_URL_FIX = "Write `database` as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."


def parse_url(text: str) -> URL:
    """Return the database's URL. DatabaseError `database_url` for anything but an SQLite file or PostgreSQL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the library's message may repeat the URL, and with it a password.
        raise DatabaseError("the `database` setting is not a database URL", code="database_url", fix=_URL_FIX) from None
    if url.drivername in ("sqlite", "sqlite+pysqlite") and url.database not in (None, "", ":memory:") and not url.query:
        return url.set(drivername="sqlite")
    if url.drivername in ("postgresql", "postgresql+psycopg") and url.database:
        return _move_password(url.set(drivername="postgresql+psycopg"))
    raise DatabaseError(
        f"the `database` setting ({url.drivername}) cannot be used: it must name an SQLite file, without options, "
        "or a PostgreSQL database",
        code="database_url",
        fix=_URL_FIX,
    )


def _move_password(url: URL) -> URL:
    """Return the URL with a password among its options moved to where `repr` hides it."""
    given = url.query.get("password")
    if not isinstance(given, str):
        return url
    return url.set(password=given).difference_update_query(["password"])


def is_postgresql(connection: Connection) -> bool:
    """Return whether this is PostgreSQL, and not SQLite."""
    return connection.dialect.name == "postgresql"


def make_engine(url: URL, lock_wait: timedelta = LOCK_WAIT) -> Engine:
    """Return an engine for a URL from `parse_url`. Nothing is opened yet; every later error is already one of ours."""
    engine = _make_sqlite(url, lock_wait) if url.drivername == "sqlite" else _make_postgresql(url, lock_wait)

    def translate(context: ExceptionContext) -> BaseException:
        ours = explain(context.original_exception, url)
        # The library's error stays on ours as its context, and psycopg's has the password among its attributes.
        vars(context.original_exception).clear()
        return ours

    event.listen(engine, "handle_error", translate, retval=True)
    return engine


def make_reader(engine: Engine) -> Engine:
    """Return the same connections, for transactions that only read: each sees one snapshot and cannot write."""
    return engine.execution_options(**{_READS_ONLY: True})


def savepoint(connection: Connection) -> AbstractContextManager[object]:
    """Wrap one statement that a constraint may refuse without ending the transaction.

    PostgreSQL needs a savepoint for that; SQLite undoes a refused statement on its own.
    """
    return connection.begin_nested() if is_postgresql(connection) else nullcontext()


def lock_topic(connection: Connection, topic: str) -> None:
    """Lock a topic until this transaction ends, against others that lock it. SQLite has one writer anyway."""
    if is_postgresql(connection):
        digest = hashlib.blake2b(f"rotator:{topic}".encode(), digest_size=8).digest()
        connection.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest, signed=True))))


def make_shares(values: Collection[str]) -> Iterator[list[str]]:
    """The values, each once, in shares that fit into one statement; both databases bound its parameters."""
    every = sorted(set(values))
    for start in range(0, len(every), 500):
        yield every[start : start + 500]


def _make_sqlite(url: URL, lock_wait: timedelta) -> Engine:
    path = Path(url.database or "")
    if not path.absolute().parent.is_dir():
        raise DatabaseError(
            f"the folder {path.absolute().parent} for {url.database} does not exist",
            code="database_unreachable",
            fix="Create the folder, or correct the `database` setting.",
        )
    engine = create_engine(url, creator=_sqlite_creator(path, lock_wait), poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _sqlite_creator(path: Path, lock_wait: timedelta) -> Callable[[], sqlite3.Connection]:
    # mode=rw never creates the file: only an upgrade does, with the right permissions.
    address = f"file:{quote(str(path.absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=lock_wait.total_seconds(), isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = on")
        connection.execute("PRAGMA synchronous = full")
        return connection

    return connect


def _begin_sqlite(connection: Connection) -> None:
    reads_only = _reads_only(connection)
    connection.exec_driver_sql(f"PRAGMA query_only = {reads_only:d}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _make_postgresql(url: URL, lock_wait: timedelta) -> Engine:
    try:
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_timeout=lock_wait.total_seconds(),
            hide_parameters=True,
        )
    except ImportError:
        raise DatabaseError(
            "PostgreSQL needs the package psycopg, which is not installed here",
            code="dependency_missing",
            fix="Install it with: pip install 'pat-rotator[postgres]'",
        ) from None
    event.listen(engine, "do_connect", QuickWhileAway())
    event.listen(engine, "connect", partial(_set_session, lock_wait))
    event.listen(engine, "begin", _begin_postgresql)
    return engine


class QuickWhileAway:
    """Connects to PostgreSQL. Soon after a try that failed, the next ones wait for the server only briefly.

    So a run of hundreds of PATs does not wait in full for each of them when the server is away; after a while a full
    try follows, because a server that is merely slow would never be reached otherwise.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._away_until = float("-inf")

    def __call__(
        self, dialect: Dialect, _record: ConnectionPoolEntry, args: list[str], options: dict[str, object]
    ) -> DBAPIConnection:
        """Connect as the library would, with a timeout."""
        options["connect_timeout"] = timeout = self.find_timeout()
        connection: DBAPIConnection | None = None
        try:
            connection = dialect.connect(*args, **options)
            return connection
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


def _begin_postgresql(connection: Connection) -> None:
    # Not by the library's own option: that leaves the session READ WRITE, even if the server's default is READ ONLY.
    if _reads_only(connection):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _reads_only(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_READS_ONLY, False))


def _set_session(lock_wait: timedelta, connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = {lock_wait // timedelta(milliseconds=1)}")
    # A frozen process must not hold the audit chain for ever; its connection is closed and its work rolled back.
    cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    cursor.execute("SET timezone = 'UTC'")
    # An intent that a crash of the server can still lose is worth nothing.
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()
