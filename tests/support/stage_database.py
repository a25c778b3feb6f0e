"""Inventory databases that a stage can reset, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from tests.support.postgres import PostgresServer

ADOPTED = "adopted"
"""The state that every stage remembers first: signed in, with one PAT adopted."""


class StageDatabase(Protocol):
    """An inventory database that can be reset to remembered states, each of which has a name."""

    def url(self) -> str:
        """Return its SQLAlchemy URL."""

    def keep(self, name: str = ADOPTED) -> None:
        """Remember the present state; nobody may be connected."""

    def restore(self, name: str = ADOPTED) -> None:
        """Go back to that state; nobody may be connected."""


class SqliteFile:
    """An SQLite file beside the settings."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def url(self) -> str:
        """See StageDatabase."""
        return f"sqlite:///{self._path}"

    def keep(self, name: str = ADOPTED) -> None:
        """See StageDatabase."""
        assert not self._path.with_name(f"{self._path.name}-wal").exists()
        shutil.copy(self._path, self._path.with_suffix(f".{name}"))

    def restore(self, name: str = ADOPTED) -> None:
        """See StageDatabase."""
        for ending in ("-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{ending}").unlink(missing_ok=True)
        shutil.copy(self._path.with_suffix(f".{name}"), self._path)


class PostgresCopy:
    """A PostgreSQL database that is copied from its template again."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._current = server.create_database()
        self._templates: dict[str, str] = {}

    def url(self) -> str:
        """See StageDatabase."""
        return self._server.url(self._current)

    def keep(self, name: str = ADOPTED) -> None:
        """See StageDatabase."""
        self._templates[name] = self._server.create_database(self._current)

    def restore(self, name: str = ADOPTED) -> None:
        """See StageDatabase."""
        self._server.drop_database(self._current)
        self._current = self._server.create_database(self._templates[name])
