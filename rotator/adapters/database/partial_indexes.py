"""The whole schema, with its partial indexes, for migrations: naming one loads the dialects of both databases."""

from __future__ import annotations

from sqlalchemy import Index

from rotator.adapters.database import sights
from rotator.adapters.database.schema import LEAVING, MAY_WRITE_LATE, OPEN, metadata, rotation

__all__ = ["metadata", "sights"]

Index("rotation_one_open", rotation.c.name, unique=True, sqlite_where=OPEN, postgresql_where=OPEN)
Index("rotation_open_by_display", rotation.c.display_name, sqlite_where=OPEN, postgresql_where=OPEN)
Index("rotation_open_by_location", rotation.c.location, sqlite_where=OPEN, postgresql_where=OPEN)
Index("rotation_leaving", rotation.c.predecessor_valid_to, sqlite_where=LEAVING, postgresql_where=LEAVING)
Index("rotation_late", rotation.c.updated_at, sqlite_where=MAY_WRITE_LATE, postgresql_where=MAY_WRITE_LATE)
