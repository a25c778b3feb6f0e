"""A value that exists only in memory outlives what real databases do: locks, lost answers, and who waits for whom."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.postgresql import CONNECT_SECONDS, QUICK_CONNECT_SECONDS, QuickWhileAway
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.stop import ProcessStop
from rotator.engine.auditing import load_events
from rotator.engine.context import RunContext
from rotator.engine.log_checking import check_log
from rotator.engine.looking import look
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.engine.run import run_once
from rotator.engine.stopping import StoppableDatabase
from rotator.errors import DatabaseUnreachableError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import UnitOfWork
from rotator.ports.pat_service import MintedPat
from tests.support.commit_proxy import CommitProxy
from tests.support.engine import NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.records import NOW, make_entry

QUICK = timedelta(milliseconds=50)
HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
EVENTS = ["rotation_planned", "mint_started", "pat_minted", "pat_verified", "store_started", "secret_stored"]


def make_database(url: str, world: EngineWorld) -> SqlDatabase:
    """A real database that holds the world's record."""
    database = SqlDatabase(url, host_now=world.clock.now, lock_wait=QUICK)
    with database.begin() as work:
        work.inventory.add(world.record())
    return database


def make_run(world: EngineWorld, database: SqlDatabase) -> RunContext:
    """A run of the world on the real database."""
    stoppable = StoppableDatabase(database, world.stop)
    return world.make_run(replace(world.make_services(), database=stoppable, closing_database=database))


def after_mint(world: EngineWorld, act: Callable[[], None]) -> None:
    """Do something once, right after the POST."""

    def answer(minted: MintedPat) -> MintedPat:
        act()
        return minted

    world.pats.change_minted = answer


def release_in_wait(world: EngineWorld, number: int, release: Callable[[], object]) -> list[float]:
    """Release a lock in the wait of this number; the list that each wait is added to."""
    waits: list[float] = []

    def pause(_event: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        world.clock.sleep(seconds)
        if len(waits) == number:
            release()
        return False

    world.stop = ProcessStop(pause=pause)
    return waits


def check_rotated(world: EngineWorld, database: SqlDatabase) -> None:
    """Run once: the one PAT is rotated with one mint, and each step is journaled once."""
    report = run_once(make_run(world, database))
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED) == []
    assert world.count("mint") == 1
    check_log(database)
    events = [event.entry.event for event in load_events(database, AuditFilter(subject=NAME))]
    assert events == [*EVENTS, "overlap_started"]
    with database.read() as reading:
        record = reading.inventory.load(NAME)
    assert record is not None
    assert world.pats.pats[record.authorization_id].value == world.latest().value.reveal()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """An SQLite database with the schema."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    return path


def test_value_is_stored_when_another_process_locks_sqlite_for_a_while(sqlite_path: Path) -> None:
    world = make_world()
    database = make_database(f"sqlite:///{sqlite_path}", world)
    holders: list[subprocess.Popen[str]] = []

    def hold() -> None:
        command = [sys.executable, "-c", HOLD_LOCK, str(sqlite_path)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"

    after_mint(world, hold)
    waits = release_in_wait(world, 4, lambda: holders[0].communicate())
    check_rotated(world, database)
    assert waits == [1, 2, 4, 4]
    database.close()


def hold_record(work: UnitOfWork) -> None:
    """Lock the record, as a run that works on it."""
    work.inventory.load(NAME)


def hold_audit(work: UnitOfWork) -> None:
    """Lock the end of the audit log, as a replica that is frozen inside a transaction."""
    work.audit.append(replace(make_entry(), subject="another"), NOW)


@pytest.mark.parametrize("hold", [hold_record, hold_audit])
def test_value_is_stored_when_another_session_locks_postgresql_for_a_while(
    postgres_url: str, hold: Callable[[UnitOfWork], None]
) -> None:
    upgrade(postgres_url)
    world, session = make_world(), ExitStack()
    database, other = make_database(postgres_url, world), SqlDatabase(postgres_url)
    after_mint(world, lambda: hold(session.enter_context(other.begin())))
    waits = release_in_wait(world, 3, session.close)
    check_rotated(world, database)
    assert waits == [1, 2, 4]
    database.close()
    other.close()


def test_nobody_fails_when_a_process_is_frozen_inside_a_transaction(postgres_url: str) -> None:
    """The server ends its session before the others give up waiting; what it wrote is undone, and it is told so."""
    upgrade(postgres_url)
    database, frozen = SqlDatabase(postgres_url), SqlDatabase(postgres_url)

    def hold_and_thaw() -> None:
        with frozen.begin() as work:
            hold_audit(work)
            with database.begin() as other:
                other.audit.append(replace(make_entry(), subject="of others"), NOW)
            hold_record(work)

    with pytest.raises(DatabaseUnreachableError):
        hold_and_thaw()
    assert [event.entry.subject for event in load_events(database)] == ["of others"]
    database.close()
    frozen.close()


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[CommitProxy]:
    """A proxy before the server of `postgres_url`, whose database has the schema."""
    upgrade(postgres_url)
    room = make_url(postgres_url).query["host"]
    proxy = CommitProxy(f"{room}/.s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("after", range(5))
def test_steps_are_journaled_once_when_postgresql_loses_the_answer_to_a_commit(
    proxy: CommitProxy, postgres_url: str, after: int, keep: bool
) -> None:
    world = make_world()
    make_database(postgres_url, world).close()
    name = make_url(postgres_url).database
    url = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/{name}?sslmode=disable&gssencmode=disable"
    database = SqlDatabase(url, lock_wait=timedelta(seconds=5))
    after_mint(world, lambda: proxy.cut(after, keep=keep))
    check_rotated(world, database)
    assert proxy.cuts == 1
    database.close()


def test_rebuild_and_run_do_not_wait_for_each_other_on_postgresql(postgres_url: str) -> None:
    """A run has the record and then writes an event; a rebuild must not have the audit log and want the record."""
    upgrade(postgres_url)
    world = make_world()
    database, other = make_database(postgres_url, world), SqlDatabase(postgres_url)
    world.run()
    run = make_run(world, other)
    plan = look(run)
    assert len(plan.news) == 1
    failures: list[BaseException] = []

    def build() -> None:
        try:
            rebuild(run, plan)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=build)
    with database.begin() as work:
        hold_record(work)
        thread.start()
        wait_for_lock(postgres_url)
        hold_audit(work)
    thread.join(30)
    assert failures == []
    check_log(database)
    database.close()
    other.close()


def wait_for_lock(url: str) -> None:
    """Return as soon as some session of this database waits for a lock."""
    parsed = make_url(url)
    waiting = "SELECT pg_sleep(0.01), count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(host=str(parsed.query["host"]), user="postgres", dbname=parsed.database) as session:
        session.autocommit = True
        for _ in range(1000):
            found = session.execute(waiting).fetchone()
            if found and found[1]:
                return
    raise AssertionError("nobody waits")


def test_tries_to_connect_are_quick_only_soon_after_a_full_one_failed() -> None:
    now = [0.0]
    away = QuickWhileAway(lambda: now[0])

    def fail() -> int:
        timeout = away.find_timeout()
        away.note(timeout, is_connected=False)
        return timeout

    assert [fail(), fail(), fail()] == [CONNECT_SECONDS, QUICK_CONNECT_SECONDS, QUICK_CONNECT_SECONDS]
    now[0] = 20.0
    assert [fail(), fail()] == [CONNECT_SECONDS, QUICK_CONNECT_SECONDS]
    away.note(QUICK_CONNECT_SECONDS, is_connected=True)
    assert fail() == CONNECT_SECONDS
