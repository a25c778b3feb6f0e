"""Which daemons stay away, as processes of one boot have seen it: kept for the next one, which has seen nothing yet.

By the boot clock, which all processes of a host have in common. It counts on the same timeline of the server alone:
else a failover may have lost heartbeats, and with them the proof that somebody lives.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, Table, Text, delete, select

from rotator.adapters.database.columns import Moment, Span
from rotator.adapters.database.engine import is_postgresql, make_upsert
from rotator.adapters.database.postgresql import find_timeline
from rotator.adapters.database.schema import metadata
from rotator.adapters.database.watch import Bond, Sights
from rotator.domain.clocks import BootMoment
from rotator.domain.job_run import KEPT_FOR

table = Table(
    "sight",
    metadata,
    Column("boot_id", Text, primary_key=True),
    Column("process", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("span", Span, nullable=False),
    Column("ends_at", Span, nullable=False),
    Column("timeline", Text, nullable=False),
)


def keep_sights(connection: Connection, boot: BootMoment | None, sights: Sights, now: datetime) -> None:
    """Keep them for this boot, and forget those of long ago."""
    timeline = find_timeline(connection) if sights and is_postgresql(connection) else None
    if timeline is None or boot is None:
        return
    insert = make_upsert(connection, table)
    for process, (bond, ends_at) in sorted(sights.items()):
        found = {"since": bond.since, "span": bond.span, "ends_at": ends_at, "timeline": timeline}
        keys = {"boot_id": boot.boot_id, "process": process}
        connection.execute(insert.values(keys | found).on_conflict_do_update(index_elements=[*keys], set_=found))
    connection.execute(delete(table).where(table.c.since < now - KEPT_FOR))


def load_sights(connection: Connection, boot: BootMoment) -> Sights:
    """Return what was kept in this boot, on this timeline."""
    rows = connection.execute(select(table).where(table.c.boot_id == boot.boot_id)).all()
    timeline = find_timeline(connection) if rows and is_postgresql(connection) else None
    return {
        row.process: (Bond(row.since, row.span, row.span, needs_sight=True), row.ends_at)
        for row in rows
        if row.timeline == timeline
    }
