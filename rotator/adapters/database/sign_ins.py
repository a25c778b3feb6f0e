"""What is remembered of each account's sign-in: one row each, written in place."""

from __future__ import annotations

from sqlalchemy import Connection, select

from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.records import SIGN_IN_COLUMNS, list_sign_in, make_sign_in
from rotator.adapters.database.schema import sign_in as table
from rotator.domain.sign_in import SignInMemory


class SqlSignInsReader:
    """The port SignInsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self, account: str) -> SignInMemory:
        """See the port."""
        row = self._connection.execute(select(*SIGN_IN_COLUMNS).where(table.c.account == account)).first()
        return SignInMemory(account) if row is None else make_sign_in(row)


class SqlSignIns(SqlSignInsReader):
    """The port SignIns."""

    def save(self, memory: SignInMemory) -> None:
        """See the port."""
        values = list_sign_in(memory)
        insert = make_upsert(self._connection, table)
        keys = [table.c.account]
        self._connection.execute(insert.values(values).on_conflict_do_update(index_elements=keys, set_=values))
