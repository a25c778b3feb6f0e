"""PgBouncer before the test session's PostgreSQL. In its transaction mode each transaction gets some session."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.support.postgres import PostgresServer
from tests.support.programs import need

_CONFIG = """
[databases]
* = host={room} user=postgres

[pgbouncer]
listen_port = 6432
unix_socket_dir = {room}
unix_socket_mode = 0700
auth_type = any
pool_mode = {mode}
default_pool_size = {sessions}
"""
_PORTS = itertools.count(6432)


def _find_program() -> Path:
    """Find it where Debian has it, which may not be in the search path; or skip the test."""
    debian = Path("/usr/sbin/pgbouncer")
    return debian if debian.exists() else Path(need("pgbouncer", "pgbouncer"))


class PgBouncer:
    """A running pooler with so many sessions for each database, on a Unix socket beside the server's."""

    def __init__(self, server: PostgresServer, sessions: int, mode: str = "transaction") -> None:
        self._server = server
        self.port = next(_PORTS)
        config = server.room / f"pgbouncer-{self.port}.ini"
        text = _CONFIG.format(room=server.room, sessions=sessions, mode=mode)
        config.write_text(text.replace("6432", str(self.port)))
        config.chmod(0o644)
        self._log: list[str] = []
        self._process = server.spawn(_find_program(), config)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(ready,))
        self._reader.start()
        if not ready.wait(timeout=30) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("pgbouncer did not start:\n" + "".join(self._log))

    def url(self, database: str) -> str:
        """Return the URL of a database through the pooler."""
        return f"{self._server.url(database)}&port={self.port}"

    def stop(self) -> None:
        """End it, by its own process id."""
        self._process.terminate()
        self._process.wait(timeout=30)
        self._reader.join(timeout=30)

    def _read_log(self, ready: threading.Event) -> None:
        assert self._process.stdout
        with self._process.stdout:
            for line in self._process.stdout:
                self._log.append(line)
                if "process up" in line:
                    ready.set()
        ready.set()


@pytest.fixture
def pgbouncer_url(postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """The database of `postgres_url`, reached through a pooler with a single session."""
    pooler = PgBouncer(postgres_server, sessions=1)
    yield pooler.url(make_url(postgres_url).database or "")
    pooler.stop()
