"""What users are told when the database cannot be used, and what they are never told: its password."""

from __future__ import annotations

import logging
import socket
import sqlite3
import struct
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import psycopg.errors
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from rotator.adapters.database.engine import make_engine, make_reader
from rotator.adapters.database.failures import explain
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.errors import ClaimLostError, DatabaseError, DatabaseLockedError
from tests.support.records import NOW, make_managed_pat, make_rotation

CANARY = "hunter2-canary"
QUICK = timedelta(milliseconds=100)


def _fail_to_begin(url: str) -> DatabaseError:
    """The error of the first transaction; its whole traceback must not hold the password."""
    database = SqlDatabase(url)
    with pytest.raises(DatabaseError) as failed, database.begin():
        pytest.fail("a transaction began")
    database.close()
    assert failed.value.fix
    assert CANARY not in "".join(traceback.format_exception(failed.value))
    assert CANARY not in repr(vars(failed.value)) + repr(vars(database))
    return failed.value


@pytest.fixture
def refusing_server() -> Iterator[int]:
    """A loopback server that speaks just enough of PostgreSQL's protocol to refuse the password; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as reader:
            while True:
                length = struct.unpack("!i", reader.read(4))[0]
                code = struct.unpack("!i", reader.read(length - 4)[:4])[0]
                if code >> 16 == 3:
                    break
                connection.sendall(b"N")  # no TLS, no GSS
            fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "bot"\0\0'
            connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(timeout=30)
    listener.close()


def test_postgresql_refuses_by_name_when_the_password_is_wrong(refusing_server: int) -> None:
    """The user is told which setting, not the value."""
    error = _fail_to_begin(f"postgresql+psycopg://bot:{CANARY}@127.0.0.1:{refusing_server}/rotator")
    assert error.code == "database_denied"
    assert "password authentication failed" in error.message
    assert "`database` setting" in error.fix


def test_postgresql_is_unreachable_when_nothing_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Host, port and reason; the password neither there nor in a log."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with caplog.at_level(logging.DEBUG):
        error = _fail_to_begin(f"postgresql+psycopg://bot:{CANARY}@127.0.0.1:{port}/rotator?password={CANARY}")
    assert error.code == "database_unreachable"
    assert f"127.0.0.1:{port}" in error.message
    assert "refused" in error.message
    assert CANARY not in caplog.text


def test_postgresql_is_unreachable_when_the_database_does_not_exist(postgres_url: str) -> None:
    """The server's own reason is passed on."""
    error = _fail_to_begin(postgres_url.replace("/test_", "/absent_"))
    assert error.code == "database_unreachable"
    assert "does not exist" in error.message


def test_postgresql_says_how_to_install_psycopg_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = _fail_to_begin(f"postgresql+psycopg://bot:{CANARY}@127.0.0.1/rotator")
    assert error.code == "dependency_missing"
    assert "pip install --require-hashes -r requirements.txt" in error.fix


@pytest.mark.parametrize(
    "url",
    [
        f"no url {CANARY}",
        "",
        f"mysql://bot:{CANARY}@host/rotator",
        "sqlite://",
        "sqlite:///:memory:",
        f"sqlite:///rotator.db?key={CANARY}",
        f"postgresql+psycopg://bot:{CANARY}@host",
        f"postgresql+psycopg://bot:{CANARY}@host:port/rotator",
    ],
)
def test_database_refuses_the_setting_when_it_is_no_usable_url(url: str) -> None:
    """Before anything is opened."""
    with pytest.raises(DatabaseError) as refused:
        SqlDatabase(url)
    assert refused.value.code == "database_url"
    assert "postgresql+psycopg://" in refused.value.fix
    assert CANARY not in "".join(traceback.format_exception(refused.value)[-1:]) + repr(vars(refused.value))


def test_database_touches_nothing_when_made(tmp_path: Path) -> None:
    """The constructor does no I/O, for an unreachable server too."""
    SqlDatabase(f"sqlite:///{tmp_path}/rotator.db").close()
    SqlDatabase("postgresql+psycopg://nobody@127.0.0.1:1/rotator").close()
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_locked_when_another_process_writes(tmp_path: Path) -> None:
    """After the wait; and it works again when the other has ended."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    database = SqlDatabase(f"sqlite:///{path}", lock_wait=QUICK)
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLockedError) as locked, database.begin():
            pytest.fail("a transaction began")
        with database.read() as reading:
            assert len(reading.inventory.load_all()) == 1
        other.execute("ROLLBACK")
    assert locked.value.exit_code == 11
    assert locked.value.__cause__ is None
    with database.begin() as work:
        assert len(work.inventory.load_all()) == 1
    database.close()


def test_sqlite_is_locked_when_a_transaction_is_nested(tmp_path: Path) -> None:
    """An error instead of a deadlock."""
    upgrade(f"sqlite:///{tmp_path}/rotator.db")
    database = SqlDatabase(f"sqlite:///{tmp_path}/rotator.db", lock_wait=QUICK)
    with database.begin(), pytest.raises(DatabaseLockedError, match="another thread"), database.begin():
        pytest.fail("a transaction began")
    database.close()


def test_sqlite_says_who_locks_it_to_those_too_that_wait_behind_another_thread(tmp_path: Path) -> None:
    """To call it a bug of ours would send people to the wrong place."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    database = SqlDatabase(f"sqlite:///{path}", lock_wait=QUICK)

    def write(_: int) -> str:
        with pytest.raises(DatabaseLockedError) as locked, database.begin():
            pytest.fail("a transaction began")
        return locked.value.message

    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(5) as threads:
        other.execute("BEGIN IMMEDIATE")
        said = set(threads.map(write, range(5)))
        other.execute("ROLLBACK")
    assert ["is locked by another process" in message for message in said] == [True] * len(said), said
    database.close()


def test_postgresql_is_locked_when_another_transaction_holds_the_row(postgres_url: str) -> None:
    """The waiting transaction is rolled back, and the library's exception stays inside the port's method too."""
    upgrade(postgres_url)
    holder, waiter = SqlDatabase(postgres_url), SqlDatabase(postgres_url, lock_wait=QUICK)
    with holder.begin() as work:
        work.inventory.add(make_managed_pat())
    with holder.begin() as work:
        work.inventory.load("npm-feed")
        with waiter.begin() as second, pytest.raises(DatabaseLockedError):
            second.claims.claim("npm-feed", "run-2", now=NOW, span=QUICK)
    with waiter.begin() as work:
        assert work.claims.claim("npm-feed", "run-2", now=NOW, span=QUICK).epoch == 1
    holder.close()
    waiter.close()


def test_postgresql_fence_holds_when_a_takeover_runs_at_the_same_time(postgres_url: str) -> None:
    """A takeover waits for a fenced write that is under way, and the late write of the old run is refused."""
    upgrade(postgres_url)
    database, impatient = SqlDatabase(postgres_url), SqlDatabase(postgres_url, lock_wait=QUICK)
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=QUICK)
    with database.begin() as writing:
        writing.journal.insert(make_rotation(), claim)
        with impatient.begin() as taking, pytest.raises(DatabaseLockedError):
            taking.claims.claim("npm-feed", "run-2", now=NOW + QUICK, span=QUICK)
    with impatient.begin() as taking:
        taking.claims.claim("npm-feed", "run-2", now=NOW + QUICK, span=QUICK)
    with database.begin() as writing, pytest.raises(ClaimLostError):
        writing.journal.save(make_rotation(), claim)
    database.close()
    impatient.close()


def test_sqlite_refuses_a_write_and_allows_reading_when_read_only(tmp_path: Path) -> None:
    """A header that says a later SQLite wrote the file makes it read-only, for root as well."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    content = bytearray(path.read_bytes())
    content[18] = 3
    path.write_bytes(content)
    database = SqlDatabase(f"sqlite:///{path}")
    with database.begin() as work:
        assert work.inventory.load_all() == ()
        with pytest.raises(DatabaseError) as refused:
            work.inventory.add(make_managed_pat())
    database.close()
    assert refused.value.code == "database_read_only"
    assert refused.value.fix


def test_postgresql_refuses_a_write_when_read_only(postgres_url: str) -> None:
    """As a standby server does."""
    upgrade(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {make_url(postgres_url).database} SET default_transaction_read_only = on".encode()
        )
    database = SqlDatabase(postgres_url)
    with pytest.raises(DatabaseError) as refused, database.begin() as work:
        work.inventory.add(make_managed_pat())
    database.close()
    assert refused.value.code == "database_read_only"


@pytest.mark.parametrize(
    "statement", ["DELETE FROM managed_pat", "UPDATE audit_event SET actor = 'x'", "DROP TABLE rotation"]
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_database_refuses_a_write_when_the_transaction_only_reads(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, statement: str
) -> None:
    """By itself, whatever the code says; and the same connection writes again afterwards."""
    url = f"sqlite:///{tmp_path}/rotator.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    upgrade(url)
    engine = make_engine(make_url(url), QUICK)
    with pytest.raises(DatabaseError) as refused, make_reader(engine).begin() as connection:
        connection.execute(text(statement))
    assert refused.value.code == "database_read_only"
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM managed_pat"))
    engine.dispose()


def test_sqlite_names_the_disk_when_it_is_full(tmp_path: Path) -> None:
    """SQLite's own error, made by a limit on the file's size."""
    with closing(sqlite3.connect(tmp_path / "full.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA max_page_count = 3")
        connection.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.Error) as full:
            connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    error = explain(full.value, make_url("sqlite:///full.db"))
    assert error.code == "database_full"
    assert "disk" in error.fix


@pytest.mark.parametrize(
    ("original", "code"),
    [
        (psycopg.errors.DiskFull("no space"), "database_full"),
        (psycopg.errors.DataCorrupted("bad page"), "database_corrupt"),
        (psycopg.errors.DeadlockDetected("deadlock"), "database_locked"),
        (psycopg.errors.TooManyConnections("too many"), "database_unreachable"),
        (psycopg.errors.AdminShutdown("shutting down"), "database_unreachable"),
        (psycopg.errors.InsufficientPrivilege("permission denied"), "database_denied"),
        (psycopg.OperationalError(f"server closed the connection, password {CANARY}"), "database_unreachable"),
        (psycopg.ProgrammingError("a bug"), "database"),
    ],
)
def test_failure_is_explained_by_its_state_when_postgresql_reports_it(original: psycopg.Error, code: str) -> None:
    """By SQLSTATE; where there is none, the session is gone. The URL's password is taken out of the words."""
    error = explain(original, make_url(f"postgresql+psycopg://bot:{CANARY}@host/rotator"))
    assert error.code == code
    assert error.fix
    assert CANARY not in error.message


def test_database_refuses_a_naive_time_when_it_gets_past_the_domain(tmp_path: Path) -> None:
    """Nothing without a time zone is stored, whatever path it took."""
    upgrade(f"sqlite:///{tmp_path}/rotator.db")
    database = SqlDatabase(f"sqlite:///{tmp_path}/rotator.db")
    record = make_managed_pat()
    object.__setattr__(record, "retry_at", datetime.fromisoformat("2026-03-01T12:00:00"))
    with pytest.raises(DatabaseError, match="without a time zone"), database.begin() as work:
        work.inventory.add(record)
    with database.begin() as work:
        assert work.inventory.load_all() == ()
    database.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE managed_pat SET valid_to = 'yesterday'", "a value that cannot be read"),
        ("UPDATE managed_pat SET valid_to = '2026-03-01T00:00:00'", "a value that cannot be read"),
        ("UPDATE managed_pat SET state = 'asleep'", "a value that cannot be read"),
        ("UPDATE managed_pat SET scope = CAST(x'ff' AS TEXT)", "is damaged"),
        ("UPDATE rotation SET state = 'asleep'", "a value that cannot be read"),
        ("UPDATE rotation SET overlap = 'long'", "a value that cannot be read"),
        ("UPDATE rotation SET known_ids = '['", "a value that cannot be read"),
        ("ALTER TABLE rotation RENAME COLUMN overlap TO other", "lacks something that its schema has"),
        ("DROP TABLE rotation", "lacks something that its schema has"),
    ],
)
def test_damaged_value_is_a_damaged_database_and_no_bug(tmp_path: Path, damage: str, said: str) -> None:
    """Something other than rotator wrote it, or the disk did: no report to anybody helps, a backup does."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    database = SqlDatabase(f"sqlite:///{path}")
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=QUICK)
        work.journal.insert(make_rotation(), claim)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for (trigger,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            other.execute(f"DROP TRIGGER {trigger}")
        other.execute("PRAGMA ignore_check_constraints = on")
        other.execute(damage)
    with pytest.raises(DatabaseError) as failed, database.read() as reading:
        _ = (reading.inventory.load_all(), reading.journal.load_open())
    database.close()
    assert failed.value.code == "database_corrupt"
    assert said in failed.value.message
    assert "backup" in failed.value.fix
