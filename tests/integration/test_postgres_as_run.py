"""PostgreSQL as people run it: behind PgBouncer, read-only for a while, too slow, several hosts."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import make_url

from rotator.adapters.database.engine import make_engine, make_reader
from rotator.adapters.database.failures import describe
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.patience import PatientConnection
from rotator.adapters.database.postgresql import OLDEST_CONNECTION, find_timeline
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.condition import ConditionKind
from rotator.engine.auditing import load_events
from rotator.engine.failover import DATABASE
from rotator.engine.report import OutcomeKind
from rotator.engine.run import run_once
from rotator.errors import DatabaseError, DatabaseUnreachableError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import UnitOfWork
from tests.integration.test_database_faults import check_rotated, make_database, make_run
from tests.support.engine import codes_of, make_world
from tests.support.postgres import PostgresServer
from tests.support.records import NOW, make_entry

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
    rotate_one(pgbouncer_url)


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


def list_requests(database: SqlDatabase, act: Callable[[UnitOfWork], None]) -> list[str]:
    """How each request begins that is sent for what one transaction does, between its begin and its end."""
    said = list[str]()

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        said.append(" ".join(statement.split()[:2]).split("(")[0])

    event.listen(Engine, "after_cursor_execute", note)
    try:
        with database.begin() as work:
            said.clear()
            act(work)
            return list(said)
    finally:
        event.remove(Engine, "after_cursor_execute", note)


def test_lock_of_the_audit_log_is_held_for_two_requests_when_an_event_is_written(postgres_url: str) -> None:
    """Everybody waits for it. What it is taken with says what comes last; then the event is written, and committed.

    What the transaction itself wrote last is not asked for.
    """
    upgrade(postgres_url)
    database = SqlDatabase(postgres_url)

    def append(work: UnitOfWork) -> None:
        work.audit.append(make_entry(), NOW)
        work.audit.append(make_entry(), NOW)

    assert list_requests(database, append) == ["SELECT pg_advisory_xact_lock", "INSERT INTO", "INSERT INTO"]
    with database.read() as reading:
        assert [found.sequence for found in load_events(database)] == [1, 2]
        assert reading.audit.load_newest_number() == 2
    database.close()


def test_lock_and_what_is_looked_at_under_it_are_one_request(postgres_url: str) -> None:
    upgrade(postgres_url)
    database = SqlDatabase(postgres_url)
    locked = {
        "pg_advisory_xact_lock_shared": lambda work: work.conditions.lock(ConditionKind.ALL_PAUSED, shared=True),
        "pg_advisory_xact_lock": lambda work: work.conditions.lock(ConditionKind.ALL_PAUSED),
        "pg_advisory_xact_lock ": lambda work: work.journal.lock_mints(NOW, NOW),
    }
    assert {name: list_requests(database, act) for name, act in locked.items()} == {
        name: [f"SELECT {name.strip()}"] for name in locked
    }
    database.close()


def test_connection_describes_what_it_fetches_as_the_driver_does(postgres_url: str) -> None:
    with (
        psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as usual,
        open_engine(postgres_url) as ours,
        ours.begin() as connection,
    ):
        raw = connection.connection.driver_connection
        assert isinstance(raw, PatientConnection)
        for query in ("SELECT 1 AS one, 'two'::text AS \"zwei, 2\"", "SELECT", "SET LOCAL lock_timeout = 1"):
            described = raw.execute(query).description
            expected = usual.execute(query).description
            assert (described is None) == (expected is None)
            assert [entry[:2] for entry in described or ()] == [tuple(entry[:2]) for entry in expected or ()]


def test_transaction_is_begun_on_a_new_connection_when_the_server_was_restarted(postgres_url: str) -> None:
    """What an idle connection is found to be is nobody's failure."""
    with open_engine(postgres_url) as engine:
        with engine.begin() as connection:
            session = find_session(connection)
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (session,))
        with engine.begin() as connection:
            assert find_session(connection) != session


def test_server_that_stands_still_is_given_up(postgres_url: str) -> None:
    """Its own limits stand still with it. What it was asked may have happened; the next transaction finds another."""
    limit = timedelta(seconds=0.5)
    engine = make_engine(make_url(postgres_url), answer_limit=limit)
    with standing_still() as stop, engine.connect() as connection:
        stop(find_session(connection))
        with pytest.raises(DatabaseUnreachableError) as failed:
            connection.execute(text("SELECT 1"))
    assert "did not answer in time" in failed.value.message
    with standing_still() as stop:
        with engine.begin() as connection:
            session = find_session(connection)
        stop(session)
        with engine.begin() as connection:
            assert find_session(connection) != session
    engine.dispose()


@contextmanager
def standing_still() -> Iterator[Callable[[int], None]]:
    """Stops processes of the server until the block ends."""
    stopped: list[int] = []

    def stop(process: int) -> None:
        os.kill(process, signal.SIGSTOP)
        stopped.append(process)

    try:
        yield stop
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


def test_hosts_are_all_named_when_the_url_has_several() -> None:
    url = make_url("postgresql+psycopg://bot@/rotator?host=one.invalid&host=two.invalid:6432")
    assert "one.invalid, two.invalid:6432" in describe(url)


def test_record_is_blocked_when_a_promoted_standby_lost_its_rotation(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Named beside the old server, it is used as soon as it can be written; the next run sees what it lacks."""
    upgrade(postgres_url)
    world = make_world()
    database = make_database(postgres_url, world)
    world.clock.advance(timedelta(days=-15))
    run_once(make_run(world, database))
    standby = postgres_server.start_standby()
    address, _, room = postgres_url.partition("?host=")
    both = SqlDatabase(f"{address}?host={room}:{standby}&host={room}:5432")
    with pytest.raises(DatabaseError, match="read-only"), SqlDatabase(f"{postgres_url}&port={standby}").read():
        pytest.fail("a transaction began")
    world.clock.advance(timedelta(days=15))
    check_rotated(world, both)
    both.close()
    database.close()
    postgres_server.promote(standby)
    promoted = SqlDatabase(f"{postgres_url}&port={standby}", host_now=world.clock.now)
    report = run_once(make_run(world, promoted))
    assert codes_of(report, OutcomeKind.BLOCKED) == ["database_behind"]
    assert world.count("mint") == 1
    assert world.count("revoke") == 0
    events = [event.entry.event for event in load_events(promoted, AuditFilter(subject=DATABASE))]
    assert events == ["timeline_reconciled", "timeline_changed"]
    promoted.close()


def test_timeline_is_told_to_a_user_without_rights_and_is_unknown_when_it_is_hidden(postgres_url: str) -> None:
    """A managed server may keep such functions to itself; work goes on."""
    with open_engine(postgres_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE plain"))
        with engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text("SET LOCAL ROLE plain"))
            found = find_timeline(connection)
            connection.execute(text("RESET ROLE"))
            connection.execute(text("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"))
            connection.execute(text("SET LOCAL ROLE plain"))
            hidden = find_timeline(connection)
            assert connection.scalar(text("SELECT 1")) == 1
            transaction.rollback()
        with engine.begin() as connection:
            connection.execute(text("DROP ROLE plain"))
    assert re.fullmatch("[0-9a-f]{16}/1", found or "")
    assert hidden is None


@pytest.mark.parametrize(
    "setting", ["datestyle = 'German'", "client_encoding = 'SQL_ASCII'", "client_encoding = 'LATIN1'"]
)
def test_pat_is_rotated_when_the_database_writes_dates_and_signs_in_its_own_way(
    postgres_url: str, setting: str
) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {make_url(postgres_url).database} SET {setting}".encode())
    rotate_one(postgres_url)


def test_pat_is_rotated_when_the_database_has_no_encoding(postgres_server: PostgresServer) -> None:
    """As where the server was set up without a language."""
    name = postgres_server.create_database(encoding="SQL_ASCII")
    rotate_one(postgres_server.url(name))
    postgres_server.drop_database(name)


def rotate_one(url: str) -> None:
    """Rotate a PAT with this database, which is empty, by the settings that the environment has too."""
    upgrade(url)
    world = make_world()
    database = make_database(url, world)
    check_rotated(world, database)
    database.close()


def test_missing_schema_is_named_with_its_fix_when_the_search_path_has_none(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {make_url(postgres_url).database} SET search_path = ''".encode())
    with pytest.raises(DatabaseError) as refused:
        upgrade(postgres_url)
    assert refused.value.code == "database_denied"
    assert "search_path" in refused.value.fix
