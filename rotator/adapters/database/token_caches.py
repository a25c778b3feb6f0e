"""The token cache in PostgreSQL: one row for each sign-in, locked while its tokens are refreshed.

SQLite has no such lock: it has one writer, who would keep everybody out for as long as Entra takes to answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from types import TracebackType

from sqlalchemy import ColumnElement, Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from rotator.adapters.database.engine import LOCK_WAIT, parse_url
from rotator.adapters.database.failures import describe, translated
from rotator.adapters.database.revision import open_checked
from rotator.adapters.database.schema import token_cache as table
from rotator.errors import ConfigError, DatabaseError, DatabaseLockedError, TransientError

_MARK = 40
"""How many characters of a cache differ with each write: Fernet begins a text with its time and a random number."""
_TRY = timedelta(seconds=1)
"""How long one try to lock a row waits, before it is seen whether the process must stop."""
_PAUSE_SECONDS = 0.02
_SPARE = timedelta(seconds=5)
"""How much longer others wait for a row than its holder may be silent: a frozen one keeps nobody from a refresh."""
_MILLISECOND = timedelta(milliseconds=1)


def check_store(url: str) -> None:
    """ConfigError unless a token cache can be kept in the database at this URL."""
    if parse_url(url).drivername == "sqlite":
        raise ConfigError(
            ["`database` keeps the sign-ins in PostgreSQL, and this database is an SQLite file"],
            setting="token_cache.store",
            fix="Leave `store` out: beside SQLite, which is for one host, the token cache is a file of that host.",
        )


class SqlTokenCaches:
    """The token caches of an installation, in its PostgreSQL database; it connects when first used. Thread-safe.

    They have connections of their own: whoever waits for Entra must not keep the journal waiting for a connection.
    """

    def __init__(self, url: str) -> None:
        check_store(url)
        self.url = parse_url(url)
        self._opening = threading.Lock()
        self._engines: tuple[Engine, Engine] | None = None

    def open(self) -> tuple[Engine, Engine]:
        """Return the engines for transactions that write and for those that only read. SchemaError as for a run."""
        with self._opening:
            if self._engines is None:
                self._engines = open_checked(self.url)
            return self._engines

    def close(self) -> None:
        """Close every connection; a later transaction opens again."""
        with self._opening:
            if self._engines is not None:
                self._engines[0].dispose()
                self._engines = None


class SqlTokenCacheStore:
    """The port TokenCacheStore on one row, for one sign-in.

    Its lock is the row's, in a transaction that a write commits: so only who still has the lock can write. The server
    ends that transaction when the connection breaks, or when nothing is heard of it for about as long as others wait.
    """

    removal = "empty its table (DELETE FROM token_cache)"

    def __init__(self, caches: SqlTokenCaches, sign_in: str) -> None:
        self._caches, self._sign_in = caches, sign_in
        self.place = f"in {describe(caches.url)}"
        self._threads = threading.RLock()
        self._depth = 0
        self._holder = 0
        self._held: Connection | None = None

    def find_mark(self) -> str | None:
        """See the port."""
        return self._load(func.substr(table.c.content, 1, _MARK))

    def read(self, most: int) -> bytes | None:
        """See the port."""
        found = self._load(func.substr(table.c.content, 1, most))
        return None if found is None else found.encode()

    def read_previous(self, most: int) -> bytes | None:
        """See the port. There is none: a row is never half written."""
        return None

    def write(self, fresh: bytes, previous: bytes | None) -> str:
        """See the port. This commits what the lock began, and so ends it."""
        content = fresh.decode("ascii")
        statement = insert(table).values(sign_in=self._sign_in, content=content)
        keys = [table.c.sign_in]
        held = self._find_own()
        if held is None:
            raise AssertionError("a token cache is written under its lock")
        try:
            with translated(self._caches.url):
                held.execute(statement.on_conflict_do_update(index_elements=keys, set_={"content": content}))
                held.commit()
        finally:
            self._let_go()
        return content[:_MARK]

    def reading(self) -> AbstractContextManager[object]:
        """See the port. There is one row to read, and no generation before."""
        return nullcontext()

    def writing(self) -> AbstractContextManager[object]:
        """See the port."""
        return _RowLock(self, LOCK_WAIT, time.sleep)

    def make_lock(
        self, sign_in: str, patience: timedelta, pause: Callable[[float], None]
    ) -> AbstractContextManager[object]:
        """See the port. It is that of the row, which is of this sign-in alone."""
        return _RowLock(self, patience, pause)

    def acquire(self, patience: timedelta, pause: Callable[[float], None]) -> None:
        """Lock the row, where this thread has not done it already."""
        deadline = time.monotonic() + patience.total_seconds()
        if not self._threads.acquire(timeout=patience.total_seconds()):
            raise self._make_refusal(patience)
        try:
            while self._held is None:
                self._held = self._try_to_lock(patience)
                if self._held is None:
                    if time.monotonic() > deadline:
                        raise self._make_refusal(patience)
                    pause(_PAUSE_SECONDS)
        except BaseException:
            self._threads.release()
            raise
        self._holder = threading.get_ident()
        self._depth += 1

    def release(self) -> None:
        """Give the row back, unless this thread goes on to need it."""
        self._depth -= 1
        if self._depth == 0:
            self._let_go()
            self._holder = 0
        self._threads.release()

    def _try_to_lock(self, patience: timedelta) -> Connection | None:
        limits = {"lock_timeout": _TRY, "idle_in_transaction_session_timeout": max(_TRY, patience - _SPARE)}
        with translated(self._caches.url):
            connection = self._caches.open()[0].connect()
            try:
                settings = "; ".join(f"SET LOCAL {name} = {span // _MILLISECOND}" for name, span in limits.items())
                connection.exec_driver_sql(settings)
                connection.execute(select(table.c.sign_in).where(self._is_ours()).with_for_update())
            except BaseException as error:
                _close(connection)
                if isinstance(error, DatabaseLockedError):
                    return None
                raise
            return connection

    def _load(self, column: ColumnElement[str]) -> str | None:
        statement = select(column).where(self._is_ours())
        with translated(self._caches.url):
            own = self._find_own()
            if own is not None:
                return own.scalar(statement)
            with self._caches.open()[1].begin() as connection:
                return connection.scalar(statement)

    def _is_ours(self) -> ColumnElement[bool]:
        return table.c.sign_in == self._sign_in

    def _find_own(self) -> Connection | None:
        """Return the connection that locks the row, if it is this thread's."""
        return self._held if self._holder == threading.get_ident() else None

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            _close(held)

    def _make_refusal(self, patience: timedelta) -> TransientError:
        return TransientError(
            f"the token cache {self.place} has been locked for more than {patience.total_seconds():.0f} seconds",
            service="entra",
            operation="lock_token_cache",
            code="token_cache_locked",
            fix="Wait for the other rotator process, or end it if it hangs.",
        )


class _RowLock:
    """Holds the row while it is entered."""

    def __init__(self, store: SqlTokenCacheStore, patience: timedelta, pause: Callable[[float], None]) -> None:
        self._store, self._patience, self._pause = store, patience, pause

    def __enter__(self) -> None:
        self._store.acquire(self._patience, self._pause)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.release()


def _close(connection: Connection) -> None:
    """Undo what was not committed, and give the connection back; one that the server has ended is dropped."""
    try:
        connection.rollback()
    except DatabaseError:
        connection.invalidate()
    finally:
        connection.close()
