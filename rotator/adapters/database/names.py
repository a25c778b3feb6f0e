"""The names of the ManagedPats alone, for a shell that completes one: quick, and without a trace.

No library for databases is loaded, none is waited for, no lock is taken that a writer needs, and no file is made.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_QUERY = "SELECT name FROM managed_pat ORDER BY name"
_LONGEST_SECONDS = 2
_SQLITE = "sqlite:///"


def load_names(url: str) -> tuple[str, ...]:
    """Return the names; none where they cannot be read at once."""
    rows = _ask_sqlite(Path(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else _ask_postgresql(url)
    return tuple(name for (name,) in rows if isinstance(name, str))


def _ask_sqlite(path: Path) -> list[tuple[object]]:
    # Without a `-wal` all is in the database itself. With one, its index is read as it is, and never made.
    wal = Path(f"{os.path.realpath(path)}-wal")
    option = "readonly_shm=1" if wal.exists() else "immutable=1"
    try:
        address = f"file:{quote(str(path))}?mode=ro&{option}"
        with closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None)) as connection:
            return connection.execute(_QUERY).fetchall()
    except sqlite3.Error:
        return []


def _ask_postgresql(url: str) -> list[tuple[object]]:
    try:
        import psycopg

        from rotator.adapters.database.patience import PatientConnection
    except ImportError:
        return []
    address = url.replace("postgresql+psycopg:", "postgresql:", 1)
    try:
        with PatientConnection.connect(address, connect_timeout=_LONGEST_SECONDS, autocommit=True) as connection:
            connection.longest_wait = _LONGEST_SECONDS  # somebody may have locked the table
            return connection.execute(_QUERY).fetchall()
    except psycopg.Error:
        return []
