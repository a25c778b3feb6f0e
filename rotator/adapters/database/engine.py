"""How connections are made, so that a committed transaction is on disk and two writers never overlap silently.

SQLite: the driver's own transaction handling is switched off and every transaction that writes starts with BEGIN
IMMEDIATE. The default (a deferred transaction) lets two readers both decide to write, and one's work is lost without
an error. A transaction that only reads is deferred, with `query_only`: in WAL mode it sees what was committed when it
began, and takes no lock that a writer needs. `synchronous=full` makes a commit durable, which the journal relies on.

PostgreSQL: READ COMMITTED; what only reads is REPEATABLE READ, READ ONLY. What is read in order to be changed is read
with FOR UPDATE, and what has no row to lock (the end of the audit chain) is serialised by an advisory lock that ends
with the transaction (`postgresql` says why nothing else may be relied on). SERIALIZABLE would need a retry around every
use case.

The order of locks, the same in every transaction, so that none waits for one that waits for it:
0. the schema, which all share and an upgrade has for itself;
1. a receiver of notifications, by a transaction that delivers to it and to nobody else;
2. the records (managed_pat) that it claims, renews or loads to change, several in the order of their names;
3. the topics "condition:...", "mints", "lifetime_limit" and "untracked:...", the rows of the journal, and the
   pending revocations;
4. "audit": the events come last, with the conditions that begin and end by them, because nobody else can write an event
   until the transaction ends. The fake database of the tests refuses any other write after an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Connection, Engine, Table, bindparam, event, func, select
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from rotator.adapters.database.failures import ConstraintError, explain
from rotator.adapters.database.postgresql import (
    ANSWER_LIMIT,
    STATEMENT_LIMIT,
    WRITER_IDLE_LIMIT,
    begin_postgresql,
    make_first_statements,
    make_postgresql,
)
from rotator.adapters.database.sqlite import begin_sqlite, make_sqlite
from rotator.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

LOCK_WAIT = timedelta(seconds=10)
"""How long to wait for any lock before raising DatabaseLockedError."""

_KEPT = 10
"""How many connections stay open for the next transaction: one for each of the threads that work at once by default."""

_READS_ONLY = "rotator_reads_only"
FENCED = "rotator_fenced"
"""Where a connection keeps which claim its transaction has renewed, with the record's id."""
HEAD = "rotator_head"
"""Where it keeps the last event of the audit log, once its transaction has written that."""
_LOCK = select(func.pg_advisory_xact_lock(bindparam("topic", type_=BigInteger)))

MIGRATION = "migration"
"""The topic that an upgrade of the schema locks, against every transaction that writes."""
_FIND_REVISION = "SELECT version_num FROM alembic_version"

_URL_FIX = "Write `database` as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."


@dataclass(frozen=True)
class SchemaCheck:
    """The revision that a transaction must find; `refuse` raises what is wrong with another one."""

    revision: str
    refuse: Callable[[Connection], None]


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


def make_engine(
    url: URL,
    lock_wait: timedelta = LOCK_WAIT,
    statement_limit: timedelta = STATEMENT_LIMIT,
    answer_limit: timedelta = ANSWER_LIMIT,
    schema: SchemaCheck | None = None,
) -> Engine:
    """Return an engine for a URL from `parse_url`. Nothing is opened yet; every later error is already one of ours.

    `statement_limit` and `answer_limit` are for PostgreSQL: when the server gives up, and when we do; zero is none.
    `schema` is checked at the beginning of each transaction that writes.
    """
    if url.drivername == "sqlite":
        engine, first = make_sqlite(url, lock_wait, _KEPT), ""
    else:
        engine = make_postgresql(url, lock_wait, answer_limit, _KEPT)
        first = make_first_statements(lock_wait, statement_limit)

    def begin(connection: Connection) -> None:
        for kept in (FENCED, HEAD):
            connection.info.pop(kept, None)
        reads_only = _reads_only(connection)
        check = None if reads_only else schema
        if is_postgresql(connection):
            _begin_postgresql(connection, first, check, reads_only=reads_only)
            return
        begin_sqlite(connection, reads_only=reads_only)
        if check is not None and connection.exec_driver_sql(_FIND_REVISION).scalar() != check.revision:
            check.refuse(connection)

    event.listen(engine, "begin", begin)

    def translate(context: ExceptionContext) -> BaseException | None:
        ours = explain(context.original_exception, url)
        # The library's error stays on ours as its context, and psycopg's has the password among its attributes.
        vars(context.original_exception).clear()
        return ours

    event.listen(engine, "handle_error", translate, retval=True)
    return engine


def _begin_postgresql(connection: Connection, first: str, check: SchemaCheck | None, *, reads_only: bool) -> None:
    if check is None:
        begin_postgresql(connection, first, reads_only=reads_only)
        return
    idle = f"SET LOCAL idle_in_transaction_session_timeout = {WRITER_IDLE_LIMIT // timedelta(milliseconds=1)}"
    locking = f"{first}; {idle}; SELECT pg_advisory_xact_lock_shared({number_topic(MIGRATION)})"
    if begin_postgresql(connection, locking, reads_only=reads_only, found=_FIND_REVISION) != check.revision:
        check.refuse(connection)


def make_reader(engine: Engine) -> Engine:
    """Return the same connections, for transactions that only read: each sees one snapshot and cannot write."""
    return engine.execution_options(**{_READS_ONLY: True})


def savepoint(connection: Connection) -> AbstractContextManager[object]:
    """Wrap one statement that a constraint may refuse without ending the transaction.

    PostgreSQL needs a savepoint for that; SQLite undoes a refused statement on its own.
    """
    return _savepoint(connection) if is_postgresql(connection) else nullcontext()


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Set one that is not given back when all went well, which would be another request: it ends with the rest."""
    connection.exec_driver_sql("SAVEPOINT rotator")
    try:
        yield
    except ConstraintError:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT rotator")
        raise


def lock_topic(connection: Connection, topic: str) -> None:
    """Lock a topic until this transaction ends, against others that lock it. SQLite has one writer anyway."""
    if is_postgresql(connection):
        connection.execute(_LOCK, {"topic": number_topic(topic)})


def number_topic(topic: str) -> int:
    """Return the number by which a topic is locked on PostgreSQL."""
    return int.from_bytes(hashlib.blake2b(f"rotator:{topic}".encode(), digest_size=8).digest(), signed=True)


def make_upsert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can say what happens on a conflict. Of the library's dialects only one is loaded."""
    if is_postgresql(connection):
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as insert_sqlite

    return insert_sqlite(table)


def make_shares(values: Collection[str]) -> Iterator[list[str]]:
    """The values, each once, in shares that fit into one statement; both databases bound its parameters."""
    every = sorted(set(values))
    for start in range(0, len(every), 500):
        yield every[start : start + 500]


def _reads_only(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_READS_ONLY, False))
