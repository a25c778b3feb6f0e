"""The conditions: one row each, as long as they last."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Select, delete, select

from rotator.adapters.database.engine import lock_topic, make_upsert
from rotator.adapters.database.schema import condition as table
from rotator.domain.condition import Condition, ConditionKind


class SqlConditionsReader:
    """The port ConditionsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> tuple[Condition, ...]:
        """See the port."""
        return self._load(select(table))

    def load_of(self, kinds: Collection[ConditionKind]) -> tuple[Condition, ...]:
        """See the port."""
        return self._load(select(table).where(table.c.kind.in_(sorted(kinds))))

    def _load(self, query: Select[tuple[object, ...]]) -> tuple[Condition, ...]:
        rows = self._connection.execute(query)
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

    def lock(self, kind: ConditionKind) -> None:
        """See the port."""
        lock_topic(self._connection, f"condition:{kind}")

    def end(self, kind: ConditionKind, subject: str) -> None:
        """See the port."""
        self._connection.execute(delete(table).where(table.c.kind == kind, table.c.subject == subject))
