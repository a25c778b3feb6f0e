"""What is remembered of each account's organizations: one row each, written in place."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, delete, select

from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.records import ORGANIZATION_COLUMNS, list_organization, make_organization
from rotator.adapters.database.schema import organization as table
from rotator.domain.organization import OrganizationMemory


class SqlOrganizationsReader:
    """The port OrganizationsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self) -> tuple[OrganizationMemory, ...]:
        """See the port. Sorted here, as the order of a text column depends on the server's locale."""
        found = map(make_organization, self._connection.execute(select(*ORGANIZATION_COLUMNS)))
        return tuple(sorted(found, key=lambda memory: (memory.account, memory.organization)))


class SqlOrganizations(SqlOrganizationsReader):
    """The port Organizations."""

    def save(self, memory: OrganizationMemory) -> None:
        """See the port."""
        values = list_organization(memory)
        insert = make_upsert(self._connection, table)
        keys = [table.c.account, table.c.organization]
        self._connection.execute(insert.values(values).on_conflict_do_update(index_elements=keys, set_=values))

    def forget(self, pairs: Collection[tuple[str, str]]) -> None:
        """See the port."""
        for account, name in sorted(pairs):
            here = and_(table.c.account == account, table.c.organization == name)
            self._connection.execute(delete(table).where(here))
