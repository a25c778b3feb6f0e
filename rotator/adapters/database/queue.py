"""The queue: columns of the records, and an index for each question. An idle tick reads no row."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import BindParameter, Connection, Text, and_, bindparam, func, or_, select, union_all, update

from rotator.adapters.database.engine import make_shares
from rotator.adapters.database.records import MANAGED_PAT_COLUMNS, make_managed_pat
from rotator.adapters.database.schema import managed_pat as table
from rotator.domain.managed_pat import ManagedPat
from rotator.ports.queue import Basis, Entry

# Made once: building a statement costs the library more than executing it does.
_LOAD_DUE = select(*MANAGED_PAT_COLUMNS).where(table.c.next_at <= bindparam("now"))
_FIND_NEXT = select(func.min(table.c.next_at)).where(table.c.next_at > bindparam("after"))
_PLAIN: BindParameter[str] = bindparam("plain")
_LIMITED: BindParameter[str] = bindparam("limited")
_HORIZON: BindParameter[datetime] = bindparam("horizon")
_FIND_STALE = union_all(
    *(
        select(table.c.name).where(stale, table.c.claimed_by.is_(None))
        for stale in (
            table.c.next_basis < _PLAIN,
            and_(table.c.next_basis > _PLAIN, table.c.next_basis < _LIMITED),
            table.c.next_basis > _LIMITED,
            and_(table.c.next_basis == _PLAIN, table.c.next_from > _HORIZON),
            and_(table.c.next_basis == _LIMITED, table.c.next_from > _HORIZON),
        )
    )
).limit(bindparam("at_most"))
_OTHER: BindParameter[str] = bindparam("policy")
_FIND_NEWEST_OTHER = select(func.max(table.c.next_from)).where(
    table.c.next_basis > "", or_(table.c.next_basis < _OTHER, table.c.next_basis > bindparam("last", type_=Text))
)
_SAVE = update(table).where(table.c.name == bindparam("saved_name"))


class SqlQueueReader:
    """The port QueueReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load_due(self, now: datetime) -> tuple[ManagedPat, ...]:
        """See the port."""
        rows = self._connection.execute(_LOAD_DUE, {"now": now})
        return tuple(sorted((make_managed_pat(row) for row in rows), key=order_due))

    def find_next(self, after: datetime) -> datetime | None:
        """See the port."""
        found: datetime | None = self._connection.scalar(_FIND_NEXT, {"after": after})
        return found

    def find_stale(self, basis: Basis, limit: int) -> tuple[str, ...]:
        """See the port."""
        values = {"plain": basis.plain, "limited": basis.limited, "horizon": basis.horizon, "at_most": limit}
        return tuple(self._connection.scalars(_FIND_STALE, values))

    def find_newest_other(self, policy: str) -> datetime | None:
        """See the port. After what begins with it comes what goes on with a letter that is no hexadecimal digit."""
        found: datetime | None = self._connection.scalar(_FIND_NEWEST_OTHER, {"policy": policy, "last": f"{policy}g"})
        return found


class SqlQueue(SqlQueueReader):
    """The port Queue."""

    def load_free(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        """See the port. Nobody is waited for, so that the order of locks does not matter."""
        found: list[ManagedPat] = []
        for share in make_shares(names):
            mine = (table.c.name.in_(share), table.c.claimed_by.is_(None))
            query = select(*MANAGED_PAT_COLUMNS).where(*mine).with_for_update(skip_locked=True)
            found += [make_managed_pat(row) for row in self._connection.execute(query)]
        return tuple(sorted(found, key=lambda pat: pat.name))

    def save(self, name: str, entry: Entry) -> None:
        """See the port."""
        values = {"next_at": entry.next_at, "next_basis": entry.basis, "next_from": entry.since}
        self._connection.execute(_SAVE, {"saved_name": name, **values})


def order_due(pat: ManagedPat) -> tuple[datetime, str]:
    """Return the sort key of `load_due`."""
    return pat.valid_to, pat.name
