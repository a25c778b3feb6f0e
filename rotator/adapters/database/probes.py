"""The probes: columns of the records, and an index for those that are due."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select, true, update

from rotator.adapters.database.engine import make_shares
from rotator.adapters.database.records import MANAGED_PAT_COLUMNS, make_managed_pat
from rotator.adapters.database.schema import managed_pat as table
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.probe import Probe

_PROBE_COLUMNS = (table.c.probe_id, table.c.probe_at, table.c.probe_works, table.c.probe_failures)
_IS_DUE = or_(table.c.probe_at.is_(None), table.c.probe_at <= bindparam("now"), table.c.probe_at > bindparam("horizon"))
_LOAD_DUE = (
    select(*_PROBE_COLUMNS, *MANAGED_PAT_COLUMNS)
    .where(table.c.authorization_id.is_not(None), table.c.claimed_by.is_(None), _IS_DUE)
    .order_by(table.c.probe_at.nulls_first(), table.c.name)
    .limit(bindparam("at_most"))
)


class SqlProbesReader:
    """The port ProbesReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self) -> int:
        """See the port."""
        found: int = self._connection.execute(select(func.count(table.c.authorization_id))).scalar_one()
        return found

    def load_due(self, now: datetime, horizon: datetime, limit: int) -> tuple[tuple[ManagedPat, Probe | None], ...]:
        """See the port."""
        found = []
        for row in self._connection.execute(_LOAD_DUE, {"now": now, "horizon": horizon, "at_most": limit}):
            tried, rest = row[: len(_PROBE_COLUMNS)], row[len(_PROBE_COLUMNS) :]
            found.append((make_managed_pat(rest), None if tried[0] is None else Probe(*tried)))
        return tuple(found)

    def load_results(self, names: Collection[str] | None = None) -> Mapping[str, bool]:
        """See the port."""
        known = select(table.c.name, table.c.probe_works).where(
            table.c.probe_works.is_not(None), table.c.probe_id == table.c.authorization_id
        )
        shares = [true()] if names is None else [table.c.name.in_(share) for share in make_shares(names)]
        return {row.name: row.probe_works for share in shares for row in self._connection.execute(known.where(share))}


class SqlProbes(SqlProbesReader):
    """The port Probes."""

    def save(self, record_id: str, probe: Probe) -> bool:
        """See the port."""
        same = (table.c.record_id == record_id, table.c.authorization_id == probe.authorization_id)
        values = {
            "probe_id": probe.authorization_id,
            "probe_at": probe.next_at,
            "probe_works": probe.works,
            "probe_failures": probe.failures,
        }
        return self._connection.execute(update(table).where(*same).values(values)).rowcount == 1
