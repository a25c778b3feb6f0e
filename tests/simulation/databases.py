"""The databases that a simulated world may keep its records in: in memory, or the real adapters on real databases.

On a real one each simulated process has connections of its own. PostgreSQL is reached through a proxy that really cuts
the connection inside COMMIT; its clock is the world's, because a function of the database stands before its own.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy import select
from sqlalchemy.engine import make_url

from rotator.adapters.database import schema
from rotator.adapters.database.engine import make_engine, make_reader
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.records import ROTATION_COLUMNS, make_rotation
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.rotation import Rotation
from rotator.ports.clock import BootClock
from rotator.ports.database import Database, Reading, UnitOfWork
from tests.support.commit_proxy import CommitProxy
from tests.support.fake_database import Clocks, MemoryDatabase
from tests.support.postgres import PostgresServer

_CLOCK = """
CREATE SEQUENCE moment;
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT timestamptz 'epoch' + last_value * interval '1 microsecond' FROM moment $$;
"""
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class KeptDatabase(Database, Protocol):
    """What a world needs of its database beside the port."""

    clocks: Clocks
    lock_wait: timedelta

    @property
    def address(self) -> str:
        """The URL for what runs in a process of its own; no process but this one reaches a database in memory."""

    def open(self) -> Database:
        """Return what another process would use of it."""

    def tell_time(self) -> None:
        """Let the server's own clock, if it has one, show what `clocks` say."""

    def cut_commit(self, *, keep: bool) -> bool:
        """Cut the connection inside the next COMMIT, which is kept or not. False where there is no connection."""

    def snapshot(self) -> object:
        """Return all that is committed, for a look at it."""

    def list_rotations(self) -> list[Rotation]:
        """Return every rotation, the oldest first, whatever became of its record."""

    def back_up(self) -> Callable[[], None]:
        """Return a function that puts the database back to what is committed now."""


MakeDatabase = Callable[[Callable[[], datetime], BootClock], KeptDatabase]


class MemoryKept(MemoryDatabase):
    """In memory: every process uses the same object, and the world itself plays a COMMIT that is not answered."""

    lock_wait = timedelta(milliseconds=10)
    address = "in memory"

    def open(self) -> Database:
        """See above."""
        return self

    def tell_time(self) -> None:
        """See above. The clock in memory is `clocks`."""

    def cut_commit(self, *, keep: bool) -> bool:
        """See above."""
        return False


def make_memory(host_now: Callable[[], datetime], boot: BootClock) -> KeptDatabase:
    """Return an empty database in memory."""
    database = MemoryKept(host_now=host_now, lock_timeout=0.01)
    database.clocks.boot = boot
    return database


class SqliteKept:
    """The real adapter on a file; nobody else's disk has to write it at once, so it may be in memory."""

    lock_wait = timedelta(milliseconds=10)

    def __init__(self, host_now: Callable[[], datetime], boot: BootClock) -> None:
        self.clocks = Clocks(host_now, boot=boot)
        place = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="rotator-", dir=place))
        self._url = f"sqlite:///{self._folder}/rotator.db"
        self._opened: list[SqlDatabase] = []
        upgrade(self._url)
        self._own = self.open()

    @property
    def address(self) -> str:
        """See above."""
        return self._url

    def open(self) -> Database:
        """See above."""
        database = SqlDatabase(
            self._url,
            host_now=lambda: self.clocks.host_now(),
            boot=self.clocks.boot,
            lock_wait=self.lock_wait,
        )
        self._opened.append(database)
        return database

    def tell_time(self) -> None:
        """See above. A file has no clock."""

    def cut_commit(self, *, keep: bool) -> bool:
        """See above."""
        return False

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """See the port."""
        return self._own.begin()

    def read(self) -> AbstractContextManager[Reading]:
        """See the port."""
        return self._own.read()

    def snapshot(self) -> object:
        """See above."""
        return _dump(self._url)

    def list_rotations(self) -> list[Rotation]:
        """See above."""
        return _list_rotations(self._url)

    def back_up(self) -> Callable[[], None]:
        """See above."""
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        with closing(self._connect()) as source:
            source.backup(kept)

        def restore() -> None:
            with closing(self._connect()) as target:
                kept.backup(target)

        return restore

    def close(self) -> None:
        """Close every connection and remove the file."""
        for database in self._opened:
            database.close()
        shutil.rmtree(self._folder)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / "rotator.db")


class PostgresKept:
    """The real adapter on a server, whose clock is the world's, through a proxy that cuts connections inside COMMIT."""

    lock_wait = timedelta(milliseconds=500)

    def __init__(self, url: str, host_now: Callable[[], datetime], boot: BootClock) -> None:
        self.clocks = Clocks(host_now, has_clock=True, boot=boot)
        self._url, self._opened, parsed = url, list[SqlDatabase](), make_url(url)
        upgrade(url)
        self._control = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self._control.execute(_CLOCK)
        self._control.execute(f"ALTER DATABASE {parsed.database} SET search_path = public, pg_catalog".encode())
        self._proxy = CommitProxy(f"{parsed.query['host']}/.s.PGSQL.5432")
        place = f"127.0.0.1:{self._proxy.port}/{parsed.database}"
        self._address = f"postgresql+psycopg://postgres@{place}?sslmode=disable&gssencmode=disable"
        self._own = self._make(url)

    @property
    def address(self) -> str:
        """See above."""
        return self._address

    @property
    def cuts(self) -> int:
        """How many connections were cut."""
        return self._proxy.cuts

    def open(self) -> Database:
        """See above."""
        return self._make(self._address)

    def _make(self, url: str) -> SqlDatabase:
        database = SqlDatabase(url, boot=self.clocks.boot, lock_wait=self.lock_wait)
        self._opened.append(database)
        return database

    def tell_time(self) -> None:
        """See above."""
        self._control.execute(
            "SELECT setval('moment', %s)", [(self.clocks.host_now() - _EPOCH) // timedelta.resolution]
        )

    def cut_commit(self, *, keep: bool) -> bool:
        """See above."""
        self._proxy.cut(0, keep=keep)
        return True

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        self.tell_time()
        with self._own.begin() as work:
            yield work

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port."""
        self.tell_time()
        with self._own.read() as reading:
            yield reading

    def snapshot(self) -> object:
        """See above."""
        return _dump(self._url)

    def list_rotations(self) -> list[Rotation]:
        """See above."""
        return _list_rotations(self._url)

    def back_up(self) -> Callable[[], None]:
        """See above. The triggers that keep the audit log as it is are off while it is put back."""
        kept = _dump(self._url)

        def restore() -> None:
            engine = make_engine(make_url(self._url))
            with engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
                for table in schema.metadata.sorted_tables:
                    connection.execute(table.delete())
                    if kept[table.name]:
                        connection.execute(table.insert(), [dict(row) for row in kept[table.name]])
            engine.dispose()

        return restore

    def close(self) -> None:
        """Close every connection."""
        for database in self._opened:
            database.close()
        self._control.close()
        self._proxy.close()


def _list_rotations(url: str) -> list[Rotation]:
    """The whole journal."""
    engine = make_engine(make_url(url))
    query = select(*ROTATION_COLUMNS).order_by(schema.rotation.c.created_at, schema.rotation.c.id)
    with make_reader(engine).begin() as connection:
        found = [make_rotation(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def open_sqlite(stack: ExitStack, host_now: Callable[[], datetime], boot: BootClock) -> SqliteKept:
    """A database in a new file, which goes when the stack is closed."""
    kept = SqliteKept(host_now, boot)
    stack.callback(kept.close)
    return kept


def open_postgres(
    server: PostgresServer, stack: ExitStack, host_now: Callable[[], datetime], boot: BootClock
) -> PostgresKept:
    """A new database on that server, which goes when the stack is closed."""
    name = server.create_database()
    stack.callback(server.drop_database, name)
    kept = PostgresKept(server.url(name), host_now, boot)
    stack.callback(kept.close)
    return kept


def _dump(url: str) -> dict[str, list[dict[str, object]]]:
    """All rows of all tables."""
    engine = make_engine(make_url(url))
    with make_reader(engine).begin() as connection:
        found = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in schema.metadata.sorted_tables
        }
    engine.dispose()
    return found
