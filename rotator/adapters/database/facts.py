"""How a database is kept: its size, the room that is left, and what PostgreSQL does before it says "committed"."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, text

from rotator.adapters.database.sqlite import name_side
from rotator.ports.host import Archiving, DatabaseFacts, Durability

_SERVER = text(
    "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size, "
    "current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, "
    "current_setting('synchronous_standby_names') AS names, current_setting('archive_mode') AS archive_mode, "
    "current_setting('autovacuum') AS autovacuum"
)
_STANDBYS = text("SELECT sync_state, count(*) AS number FROM pg_stat_replication GROUP BY sync_state")
_ARCHIVER = text("SELECT last_archived_time, last_failed_time FROM pg_stat_archiver")


def load_facts(connection: Connection, path: Path | None) -> DatabaseFacts:
    """Return the facts of an SQLite file at that path; None: of the PostgreSQL server of the connection."""
    if path is not None:
        files = (path, name_side(path, "wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return DatabaseFacts(f"SQLite {sqlite3.sqlite_version}", size, free=shutil.disk_usage(path.parent).free)
    found = connection.execute(_SERVER).one()
    states = {row.sync_state: int(row.number) for row in connection.execute(_STANDBYS)}
    # Who may not see more of a standby than that it is there gets NULL for the rest.
    durability = Durability(
        found.fsync == "on", found.synchronous_commit, found.names, None if None in states else states
    )
    archiving = None
    if found.archive_mode != "off":
        archiver = connection.execute(_ARCHIVER).one()
        archiving = Archiving(archiver.last_archived_time, archiver.last_failed_time)
    version = str(found.version).split()[0]
    return DatabaseFacts(
        f"PostgreSQL {version}",
        int(found.size),
        durability=durability,
        archiving=archiving,
        vacuums=found.autovacuum == "on",
    )
