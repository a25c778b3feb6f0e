"""Which version of our schema a database holds, and whether this version of rotator can work with it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, Engine, column, inspect, select, table
from sqlalchemy.engine import URL

from rotator.adapters.database.engine import LOCK_WAIT, SchemaCheck, is_postgresql, make_engine, make_reader
from rotator.adapters.database.failures import describe
from rotator.adapters.database.schema import REVISIONS, managed_pat
from rotator.errors import SchemaError

HEAD = REVISIONS[-1]
_OLDEST_POSTGRESQL = 15
_VERSION = table("alembic_version", column("version_num"))


def load_revision(connection: Connection) -> str | None:
    """Return the schema's revision, None for an empty database.

    SchemaError `database_foreign` when it holds another program's tables, `database_newer` when a later rotator
    has upgraded it, `database_version` for a PostgreSQL server that is too old.
    """
    where = describe(connection.engine.url)
    server = connection.dialect.server_version_info
    if is_postgresql(connection) and server is not None and int(server[0]) < _OLDEST_POSTGRESQL:
        raise SchemaError(
            f"{where} runs version {server[0]}; the oldest supported is {_OLDEST_POSTGRESQL}",
            code="database_version",
            fix="Upgrade the PostgreSQL server.",
        )
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    known = connection.scalar(select(_VERSION.c.version_num)) if _VERSION.name in tables else None
    if known in REVISIONS:
        return str(known)
    if known is None and set(tables) <= {_VERSION.name}:
        return None
    if known is None or managed_pat.name not in tables:
        raise SchemaError(
            f"{where} holds another program's tables, such as {min(tables)}",
            code="database_foreign",
            fix="Point the `database` setting at an empty database, or at the one that rotator created.",
        )
    raise SchemaError(
        f"{where} has schema {known}, newer than {HEAD}, the newest that this version of rotator knows",
        code="database_newer",
        fix="Install the version of rotator that upgraded it, or a later one.",
    )


def check_revision(connection: Connection) -> None:
    """Raise SchemaError unless the schema is the one that this rotator needs."""
    problem = find_problem(load_revision(connection), connection.engine.url)
    if problem is not None:
        raise problem


def find_problem(found: str | None, url: URL) -> SchemaError | None:
    """Return what is wrong with a database of that revision; None has no tables, or is a file that does not exist."""
    if found == HEAD:
        return None
    if found is None:
        return make_not_initialised(url)
    return SchemaError(
        f"{describe(url)} has schema {found}, older than {HEAD}, which this version of rotator needs",
        code="database_older",
        fix="Run `rotator db upgrade`.",
    )


def make_not_initialised(url: URL) -> SchemaError:
    """Return the error for a database without tables, or an SQLite file that does not exist."""
    return SchemaError(
        f"{describe(url)} has no tables yet",
        code="database_not_initialised",
        fix="Run `rotator db upgrade`. If it replaces a database that was lost, run `rotator inventory rebuild` next.",
    )


def open_checked(url: URL, lock_wait: timedelta = LOCK_WAIT) -> tuple[Engine, Engine]:
    """Return engines for transactions that write and for those that only read. SchemaError as for `check_revision`.

    Each transaction that writes checks it again: a process may be older than an upgrade.
    """
    engine = make_engine(url, lock_wait, schema=SchemaCheck(HEAD, check_revision))
    reader = make_reader(engine)
    try:
        with reader.begin() as connection:
            check_revision(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine, reader
