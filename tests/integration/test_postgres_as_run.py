"""PostgreSQL as people run it: behind PgBouncer, read-only for a while, too slow, several hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url

from rotator.adapters.database.engine import make_engine, make_reader
from rotator.adapters.database.failures import describe
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.postgresql import OLDEST_CONNECTION
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.errors import DatabaseError, DatabaseUnreachableError
from tests.integration.test_database_faults import check_rotated, make_database
from tests.support.engine import make_world

LIMITS = {
    "lock_timeout": "7s",
    "statement_timeout": "9s",
    "idle_in_transaction_session_timeout": "1min",
    "synchronous_commit": "on",
    "TimeZone": "UTC",
}
"""What each of our transactions has; the tests' server has `synchronous_commit` off."""


def read_settings(connection: Connection) -> dict[str, str]:
    """The settings of LIMITS as they are in this transaction."""
    return {name: str(connection.scalar(text(f"SHOW {name}"))) for name in LIMITS}


@contextmanager
def open_engine(url: str, statement_limit: timedelta = timedelta(seconds=9)) -> Iterator[Engine]:
    """An engine of ours."""
    engine = make_engine(make_url(url), timedelta(seconds=7), statement_limit)
    yield engine
    engine.dispose()


def find_session(connection: Connection) -> int:
    """The server's process behind this connection."""
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


@contextmanager
def alter_database(url: str, setting: str) -> Iterator[None]:
    """Change a setting of the database for the sessions that begin meanwhile."""
    name = make_url(url).database
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET {setting} = on".encode())
        yield
        connection.execute(f"ALTER DATABASE {name} RESET {setting}".encode())


def test_settings_hold_for_the_transaction_alone_when_a_pooler_shares_its_sessions(pgbouncer_url: str) -> None:
    """In each of ours, whichever session it gets; and whoever gets the session next has the server's own."""
    with psycopg.connect(pgbouncer_url.replace("+psycopg", ""), prepare_threshold=None) as other:
        before = other.execute("SHOW lock_timeout").fetchone()
        other.rollback()
        with open_engine(pgbouncer_url) as engine:
            for _ in range(3):
                with engine.begin() as connection:
                    assert read_settings(connection) == LIMITS
                with make_reader(engine).begin() as connection:
                    assert read_settings(connection) == LIMITS
                    assert connection.scalar(text("SHOW transaction_read_only")) == "on"
                    assert connection.scalar(text("SHOW transaction_isolation")) == "repeatable read"
                assert other.execute("SHOW lock_timeout").fetchone() == before
                other.rollback()


def test_statements_are_repeated_when_a_pooler_shares_its_sessions(pgbouncer_url: str, postgres_url: str) -> None:
    """The driver prepares what it sees often, on a session that the next transaction may not have."""
    upgrade(postgres_url)
    databases = [SqlDatabase(pgbouncer_url) for _ in range(2)]
    for _ in range(8):
        for database in databases:
            with database.begin() as work:
                assert work.inventory.load_all() == ()
                assert work.audit.load_newest_number() == 0
    for database in databases:
        database.close()


def test_pat_is_rotated_when_the_database_is_behind_a_pooler(pgbouncer_url: str) -> None:
    """The schema is built through it, too."""
    upgrade(pgbouncer_url)
    world = make_world()
    database = make_database(pgbouncer_url, world)
    check_rotated(world, database)
    database.close()


def test_connections_are_dropped_when_their_server_is_read_only(postgres_url: str) -> None:
    """All that are kept: the next transaction makes a new one, which finds the server that can be written."""
    upgrade(postgres_url)
    with open_engine(postgres_url) as engine:
        with engine.begin() as first, engine.begin() as second:
            sessions = {find_session(first), find_session(second)}
            for connection in (first, second):
                connection.execute(text("SET SESSION default_transaction_read_only = on"))
        with engine.connect() as connection:
            assert find_session(connection) in sessions
            with pytest.raises(DatabaseError) as refused:
                connection.execute(text("DELETE FROM managed_pat"))
        assert refused.value.code == "database_read_only"
        for _ in range(2):
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM managed_pat"))
                assert find_session(connection) not in sessions


def test_database_is_refused_when_every_server_is_read_only(postgres_url: str) -> None:
    """A standby is not used: what it shows may be old. The error names the primary server as the fix."""
    upgrade(postgres_url)
    with alter_database(postgres_url, "default_transaction_read_only"):
        database = SqlDatabase(postgres_url)
        with pytest.raises(DatabaseError) as refused, database.read():
            pytest.fail("a transaction began")
        database.close()
    assert refused.value.code == "database_read_only"
    assert "primary" in refused.value.fix


def test_connection_is_replaced_when_it_is_old(postgres_url: str) -> None:
    """A name means another server after a failover, but a connection stays where it is."""
    with open_engine(postgres_url) as engine:
        with engine.begin() as connection:
            session = find_session(connection)
            record = connection.connection._connection_record
        assert record is not None
        record.starttime -= OLDEST_CONNECTION.total_seconds() + 1
        with engine.begin() as connection:
            assert find_session(connection) != session


def test_statement_is_cut_short_when_the_server_is_slow(postgres_url: str) -> None:
    """It may pass, so the error is one that is repeated while a value exists only in memory."""
    with open_engine(postgres_url, timedelta(milliseconds=50)) as engine:
        with pytest.raises(DatabaseUnreachableError) as failed, engine.begin() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))
        assert "did not answer in time" in failed.value.message
        assert "pg_stat_activity" in failed.value.fix


def test_hosts_are_all_named_when_the_url_has_several() -> None:
    url = make_url("postgresql+psycopg://bot@/rotator?host=one.invalid&host=two.invalid:6432")
    assert "one.invalid, two.invalid:6432" in describe(url)
