"""The conditions: one row each, as long as they last."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, TextualSelect, bindparam, delete, select

from rotator.adapters.database.engine import is_postgresql, make_upsert, number_topic
from rotator.adapters.database.postgresql import lock_and
from rotator.adapters.database.schema import condition as table
from rotator.domain.condition import Condition, ConditionKind

# Made once: building a statement costs the library more than executing it does.
_LOAD_OF = select(table).where(table.c.kind.in_(bindparam("kinds", expanding=True)))
_END = delete(table).where(
    table.c.kind.in_(bindparam("ended_kinds", expanding=True)), table.c.subject == bindparam("ended_subject")
)


class SqlConditionsReader:
    """The port ConditionsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> tuple[Condition, ...]:
        """See the port."""
        return self._load(self._connection.execute(select(table)))

    def load_of(self, kinds: Collection[ConditionKind]) -> tuple[Condition, ...]:
        """See the port."""
        return self._load(self._connection.execute(_LOAD_OF, {"kinds": sorted(kinds)}))

    def _load(self, rows: CursorResult[Any]) -> tuple[Condition, ...]:
        found = (Condition(row.kind, row.subject, row.since, row.told_at, row.code) for row in rows)
        return tuple(sorted(found, key=lambda condition: (condition.kind, condition.subject)))


class SqlConditions(SqlConditionsReader):
    """The port Conditions."""

    def begin(self, condition: Condition) -> None:
        """See the port."""
        insert = make_upsert(self._connection, table)
        keys = [table.c.kind, table.c.subject]
        cause = {"code": condition.code}
        self._connection.execute(insert.values(vars(condition)).on_conflict_do_update(index_elements=keys, set_=cause))

    def lock(self, kind: ConditionKind, *, shared: bool = False) -> tuple[Condition, ...]:
        """See the port. On PostgreSQL lock and look are one request."""
        if not is_postgresql(self._connection):
            return self.load_of([kind])
        return self._load(self._connection.execute(_make_lock(kind, shared=shared)))

    def end(self, kinds: Collection[ConditionKind], subject: str) -> None:
        """See the port."""
        self._connection.execute(_END, {"ended_kinds": sorted(kinds), "ended_subject": subject})


@cache
def _make_lock(kind: ConditionKind, *, shared: bool) -> TextualSelect:
    lock = number_topic(f"condition:{kind}")
    return lock_and(lock, select(table).where(table.c.kind == kind), shared=shared)
