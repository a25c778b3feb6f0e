"""The ManagedPats, and the PATs that nobody manages yet.

In a writing transaction, `load` locks the row on PostgreSQL (FOR UPDATE): whoever loads a record, changes it and saves
it cannot overwrite what a run has saved in the meantime. `load_all` takes no lock, because it is only for looking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, or_, select, update

from rotator.adapters.database.claims import check_fence
from rotator.adapters.database.engine import FENCED, lock_topic, make_shares, savepoint
from rotator.adapters.database.failures import ConstraintError
from rotator.adapters.database.records import (
    MANAGED_PAT_COLUMNS,
    UNTRACKED_COLUMNS,
    list_failure,
    list_managed_pat,
    list_untracked,
    make_managed_pat,
    make_untracked,
)
from rotator.adapters.database.schema import OPEN, managed_pat, pending_revocation, rotation, untracked_pat
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.errors import UsageError
from rotator.ports.claims import Claim
from rotator.ports.inventory import UntrackedPat

# Made once: building a statement costs the library more than executing it does.
_LOAD = select(*MANAGED_PAT_COLUMNS).where(managed_pat.c.name == bindparam("wanted_name"))
_LOAD_LOCKED = _LOAD.with_for_update()
_SAVE = update(managed_pat).where(managed_pat.c.name == bindparam("saved_name"))


class SqlInventoryReader:
    """The port InventoryReader."""

    _load_one = _LOAD

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load_all(self) -> tuple[ManagedPat, ...]:
        """See the port. Sorted here, as the order of a text column depends on the server's locale."""
        rows = self._connection.execute(select(*MANAGED_PAT_COLUMNS))
        return tuple(sorted((make_managed_pat(row) for row in rows), key=lambda pat: pat.name))

    def load(self, name: str) -> ManagedPat | None:
        """See the port."""
        row = self._connection.execute(self._load_one, {"wanted_name": name}).one_or_none()
        return None if row is None else make_managed_pat(row)

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[ManagedPat, ...]:
        """See the port."""
        found = []
        for share in make_shares(authorization_ids):
            query = select(*MANAGED_PAT_COLUMNS).where(managed_pat.c.authorization_id.in_(share))
            found += [make_managed_pat(row) for row in self._connection.execute(query)]
        return tuple(sorted(found, key=lambda pat: pat.name))

    def find_names(self, names: Collection[str]) -> frozenset[str]:
        """See the port."""
        found: set[str] = set()
        for share in make_shares(names):
            found.update(self._connection.scalars(select(managed_pat.c.name).where(managed_pat.c.name.in_(share))))
        return frozenset(found)

    def load_named(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        """See the port."""
        shares = (select(*MANAGED_PAT_COLUMNS).where(managed_pat.c.name.in_(share)) for share in make_shares(names))
        found = (make_managed_pat(row) for query in shares for row in self._connection.execute(query))
        return tuple(sorted(found, key=lambda pat: pat.name))

    def load_page(self, after: str, limit: int) -> tuple[ManagedPat, ...]:
        """See the port."""
        later = select(*MANAGED_PAT_COLUMNS).where(managed_pat.c.name > after).order_by(managed_pat.c.name)
        return tuple(make_managed_pat(row) for row in self._connection.execute(later.limit(limit)))

    def load_untracked(self) -> tuple[UntrackedPat, ...]:
        """See the port. By account, organization, display name and id."""
        found = [make_untracked(row) for row in self._connection.execute(select(*UNTRACKED_COLUMNS))]
        return tuple(sorted(found, key=order_untracked))


class SqlInventory(SqlInventoryReader):
    """The port Inventory."""

    _load_one = _LOAD_LOCKED

    def add(self, pat: ManagedPat) -> None:
        """See the port."""
        record_id = uuid4().hex
        try:
            with savepoint(self._connection):
                self._connection.execute(insert(managed_pat), list_managed_pat(pat) | {"record_id": record_id})
        except ConstraintError as error:
            raise self._explain_conflict(pat, error, self._find_same_name(pat)) from None
        alone = and_(rotation.c.name == pat.name, rotation.c.record_id.is_(None), OPEN)
        self._connection.execute(update(rotation).where(alone).values(record_id=record_id))

    def save(self, pat: ManagedPat, claim: Claim) -> None:
        """See the port. UsageError when another record already has its PAT or its secret."""
        check_fence(self._connection, claim, pat.name)
        values = {**list_managed_pat(pat), "saved_name": pat.name}
        del values["epoch"]
        try:
            with savepoint(self._connection):
                self._connection.execute(_SAVE, values)
        except ConstraintError as error:
            raise self._explain_conflict(pat, error, None) from None

    def remove(self, name: str, claim: Claim) -> None:
        """See the port."""
        record_id = check_fence(self._connection, claim, name)
        self._connection.info.pop(FENCED, None)
        self._connection.execute(delete(managed_pat).where(managed_pat.c.name == name))
        for table in (rotation, pending_revocation):
            self._connection.execute(update(table).where(table.c.record_id == record_id).values(record_id=None))

    def rename(self, name: str, new_name: str, claim: Claim) -> None:
        """See the port."""
        record_id = check_fence(self._connection, claim, name)
        self._connection.info.pop(FENCED, None)
        record = {"name": new_name, "claimed_by": None, "claimed_until": None, "claimed_at": None}
        try:
            with savepoint(self._connection):
                self._connection.execute(update(managed_pat).where(managed_pat.c.name == name).values(record))
                for table in (rotation, pending_revocation):
                    mine = table.c.record_id == record_id
                    self._connection.execute(update(table).where(mine).values(name=new_name))
        except ConstraintError as error:
            row = self._connection.execute(_LOAD, {"wanted_name": new_name}).one_or_none()
            other = None if row is None else make_managed_pat(row)
            raise error if other is None else make_conflict(other, other) from None

    def save_untracked(self, account: str, organization: str, pats: tuple[Pat, ...]) -> None:
        """See the port. Serialised per account and organization: two runs may replace the same rows."""
        lock_topic(self._connection, f"untracked:{account}:{organization}")
        mine = _is_untracked_in(account, organization)
        before = map(make_untracked, self._connection.execute(select(*UNTRACKED_COLUMNS).where(mine)).all())
        waits = {item.pat.authorization_id: item.waits for item in before}
        self._connection.execute(delete(untracked_pat).where(mine))
        found = {
            pat.authorization_id: UntrackedPat(account, organization, pat, waits.get(pat.authorization_id))
            for pat in pats
        }
        if found:
            self._connection.execute(insert(untracked_pat), [list_untracked(item) for item in found.values()])

    def save_waits(self, account: str, organization: str, waits: Mapping[str, Failure]) -> None:
        """See the port."""
        lock_topic(self._connection, f"untracked:{account}:{organization}")
        mine = _is_untracked_in(account, organization)
        self._connection.execute(update(untracked_pat).where(mine).values(list_failure(None)))
        for found, failure in waits.items():
            of_one = and_(mine, untracked_pat.c.authorization_id == found)
            self._connection.execute(update(untracked_pat).where(of_one).values(list_failure(failure)))

    def _find_same_name(self, pat: ManagedPat) -> str | None:
        return self._connection.scalar(select(managed_pat.c.name).where(managed_pat.c.name == pat.name))

    def _explain_conflict(self, pat: ManagedPat, error: ConstraintError, same: str | None) -> Exception:
        """Return the UsageError that names the other record; the error itself when none is found."""
        if same is not None:
            return make_conflict(pat, pat)
        same_id = and_(
            managed_pat.c.organization == pat.organization,
            managed_pat.c.authorization_id == pat.authorization_id,
        )
        same_place = managed_pat.c.location == pat.place
        query = select(*MANAGED_PAT_COLUMNS).where(managed_pat.c.name != pat.name, or_(same_id, same_place))
        row = self._connection.execute(query.limit(1)).one_or_none()
        return error if row is None else make_conflict(pat, make_managed_pat(row))


def _is_untracked_in(account: str, organization: str) -> ColumnElement[bool]:
    return and_(untracked_pat.c.account == account, untracked_pat.c.organization == organization)


def order_untracked(found: UntrackedPat) -> tuple[str, str, str, str]:
    """Return the sort key of `load_untracked`."""
    return found.account, found.organization, found.pat.display_name, found.pat.authorization_id


def make_conflict(pat: ManagedPat, other: ManagedPat) -> UsageError:
    """What to say when `other` already has the name, the PAT or the secret that `pat` wants."""
    if other.name == pat.name:
        return UsageError(
            f"the name {pat.name} is already taken by a managed PAT of {other.organization}",
            code="name_taken",
            fix="Choose another name.",
        )
    if pat.has_pat and (other.organization, other.authorization_id) == (pat.organization, pat.authorization_id):
        return UsageError(
            f"PAT {pat.authorization_id} of {pat.organization} is already managed as {other.name}",
            code="already_managed",
            fix=f"Nothing to do, or run `rotator inventory forget {other.name}` first.",
        )
    return UsageError(
        f"secret {pat.secret_name} of {pat.vault} already belongs to {other.name}; {pat.name} would overwrite it",
        code="secret_taken",
        fix="Give the rule a `secret_name` that differs for each PAT, or choose another secret name.",
    )
