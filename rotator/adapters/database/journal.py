"""The rotations. Each write first passes the fence of `claims`, in the same transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from rotator.adapters.database import traces
from rotator.adapters.database.claims import check_fence
from rotator.adapters.database.engine import is_postgresql, make_shares, number_topic, savepoint
from rotator.adapters.database.failures import ConstraintError
from rotator.adapters.database.postgresql import lock_and
from rotator.adapters.database.records import ROTATION_COLUMNS, list_rotation, make_rotation
from rotator.adapters.database.schema import LEAVING, MAY_WRITE_LATE, OPEN, managed_pat
from rotator.adapters.database.schema import rotation as table
from rotator.domain.rotation import BEYOND_STORE, CLOSED_STATES, Rotation, RotationEnding, RotationState, Trace
from rotator.errors import ClaimHeldError, DatabaseError
from rotator.ports.claims import Claim

# Made once: building a statement costs the library more than executing it does.
_SAVE = update(table).where(
    table.c.id == bindparam("saved_id"), or_(table.c.record_id == bindparam("record"), table.c.record_id.is_(None))
)
_NOTE_REVOKED = (
    update(table)
    .where(
        table.c.new_authorization_id == bindparam("clone"),
        table.c.state == RotationState.FAILED,
        table.c.tried_store,
        or_(table.c.ending.is_(None), table.c.ending == RotationEnding.CLONE_REVOKED),
    )
    .values(ending=RotationEnding.CLONE_REVOKED, updated_at=bindparam("at"))
)
_INSERT = insert(table)
_LOAD = select(*ROTATION_COLUMNS)
_LOAD_OPEN_FOR = _LOAD.where(OPEN, table.c.record_id.is_not(None), table.c.name.in_(bindparam("names", expanding=True)))
_LOAD_SENT_MINTS = _LOAD.where(
    table.c.new_authorization_id.is_(None), table.c.planned_valid_to > bindparam("now"), table.c.sent_at.is_not(None)
).order_by(table.c.created_at, table.c.id)
_LOAD_PLANNED = select(table.c.planned_valid_to).where(
    OPEN, table.c.display_name == bindparam("wanted_display_name"), table.c.organization == bindparam("wanted_place")
)
_NEWEST_FIRST = _LOAD.order_by(table.c.created_at.desc(), table.c.id.desc())
_RECORD = select(managed_pat.c.record_id).where(managed_pat.c.name == bindparam("wanted_name")).scalar_subquery()
_LOAD_FOR = _NEWEST_FIRST.where(table.c.record_id == _RECORD)
_LOAD_NAMING = union_all(
    *(
        _LOAD.where(column.in_(bindparam("named", expanding=True)))
        for column in (table.c.predecessor_id, table.c.new_authorization_id)
    )
)


def _make_count(since: ColumnElement[datetime], until: ColumnElement[datetime]) -> Select[int]:
    begun = (table.c.mint_begun_at > since, table.c.mint_begun_at <= until)
    return select(func.count()).select_from(table).where(*begun)


_COUNT_MINTS = _make_count(bindparam("since"), bindparam("until"))


@cache
def _make_lock_mints() -> str:
    """Make the request that takes the lock and counts: with places for the two moments, as it can have no values."""
    moments: list[ColumnElement[datetime]] = [literal_column("'{since}'"), literal_column("'{until}'")]
    return str(lock_and(number_topic("mints"), _make_count(*moments)))


class SqlJournalReader:
    """The port JournalReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load_open(self) -> tuple[Rotation, ...]:
        """See the port. The oldest first."""
        return self._load(_LOAD.where(OPEN).order_by(table.c.created_at, table.c.id))

    def load_open_for(self, names: Collection[str]) -> tuple[Rotation, ...]:
        """See the port. By the index of the open rotations, whose condition is `OPEN`, word for word."""
        shares = make_shares(names)
        return tuple(found for share in shares for found in self._load(_LOAD_OPEN_FOR, {"names": share}))

    def load_for(self, name: str, *, since: datetime | None = None) -> tuple[Rotation, ...]:
        """See the port."""
        rotations = self._load(_LOAD_FOR, {"wanted_name": name})
        return tuple(rotation for rotation in rotations if since is None or rotation.created_at >= since)

    def load_writers(self, place: str, named: Collection[str]) -> tuple[Trace, ...]:
        """See the port."""
        return traces.load_writers(self._connection, place, named)

    def load_traces(self, authorization_ids: Collection[str]) -> tuple[Trace, ...]:
        """See the port."""
        return traces.load_traces(self._connection, authorization_ids)

    def load_unconfirmed(self, now: datetime) -> tuple[Rotation, ...]:
        """See the port. The oldest first."""
        query = _LOAD.where(
            _is_closed(),
            table.c.new_authorization_id.is_(None),
            table.c.sent_at.is_not(None),
            table.c.planned_valid_to > now,
        )
        return self._load(query.order_by(table.c.created_at, table.c.id))

    def load_sent_mints(self, now: datetime) -> tuple[Rotation, ...]:
        """See the port."""
        return self._load(_LOAD_SENT_MINTS, {"now": now})

    def load_naming(self, authorization_ids: Collection[str]) -> tuple[Rotation, ...]:
        """See the port."""
        found: dict[str, Rotation] = {}
        for share in make_shares(authorization_ids):
            found |= {rotation.id: rotation for rotation in self._load(_LOAD_NAMING, {"named": share})}
        return tuple(sorted(found.values(), key=lambda rotation: (rotation.created_at, rotation.id)))

    def find_known(self, rotation_ids: Collection[str]) -> frozenset[str]:
        """See the port."""
        return traces.find_known(self._connection, rotation_ids)

    def load_leaving(self, now: datetime) -> tuple[Rotation, ...]:
        """See the port. By the index whose condition is `LEAVING`, word for word."""
        later = or_(table.c.predecessor_valid_to > now, table.c.new_valid_to > now)
        leaving = _LOAD.where(LEAVING, later)
        return self._load(leaving.order_by(table.c.created_at, table.c.id))

    def load_late_stores(self, since: datetime) -> tuple[Rotation, ...]:
        """See the port. The oldest first."""
        unawaited = or_(table.c.state.in_(sorted(BEYOND_STORE)), table.c.ending == RotationEnding.CLONE_REVOKED)
        late = or_(and_(unawaited, table.c.tried_store), table.c.ending == RotationEnding.CLONE_LOST)
        query = _LOAD.where(MAY_WRITE_LATE, late, table.c.updated_at >= since)
        return self._load(query.order_by(table.c.created_at, table.c.id))

    def load_planned(self, organization: str, display_name: str) -> frozenset[datetime]:
        """See the port."""
        alike = {"wanted_display_name": display_name, "wanted_place": organization}
        found = self._connection.scalars(_LOAD_PLANNED, alike)
        return frozenset(moment for moment in found if moment is not None)

    def load_past(self, changed: datetime, ended: datetime, after: str, limit: int) -> tuple[Trace, ...]:
        """See the port."""
        return traces.load_past(self._connection, changed, ended, after, limit)

    def count_mints(self, since: datetime, until: datetime) -> int:
        """See the port."""
        return self._connection.execute(_COUNT_MINTS, {"since": since, "until": until}).scalar_one()

    def _load(self, query: Executable, values: Mapping[str, object] | None = None) -> tuple[Rotation, ...]:
        return tuple(make_rotation(row) for row in self._connection.execute(query, values))


class SqlJournal(SqlJournalReader):
    """The port Journal. A ManagedPat has one open rotation at most: a unique partial index enforces it."""

    def lock_mints(self, since: datetime, until: datetime) -> int:
        """See the port. On PostgreSQL lock and look are one request, as everybody who mints waits for it."""
        if not is_postgresql(self._connection):
            return self.count_mints(since, until)
        span = {"since": since.isoformat(), "until": until.isoformat()}
        return int(self._connection.exec_driver_sql(_make_lock_mints().format(**span)).scalar_one())

    def insert(self, rotation: Rotation, claim: Claim) -> None:
        """See the port."""
        values = list_rotation(rotation) | {"record_id": check_fence(self._connection, claim, rotation.name)}
        try:
            with savepoint(self._connection):
                self._connection.execute(_INSERT, values)
        except ConstraintError as error:
            raise self._explain_conflict(rotation, error) from None

    def save(self, rotation: Rotation, claim: Claim) -> None:
        """See the port. DatabaseError `rotation_unknown` when it was never inserted."""
        record_id = check_fence(self._connection, claim, rotation.name)
        values = {**list_rotation(rotation), "record_id": record_id, "saved_id": rotation.id, "record": record_id}
        try:
            with savepoint(self._connection):
                count = self._connection.execute(_SAVE, values).rowcount
        except ConstraintError as error:
            raise self._explain_conflict(rotation, error) from None
        if count == 0:
            raise make_unknown(rotation)

    def enter(self, rotation: Rotation, claim: Claim) -> None:
        """See the port."""
        here = select(table.c.id).where(table.c.id == rotation.id, table.c.location == rotation.place)
        if self._connection.scalar(here) is not None:
            self.save(rotation, claim)
        else:
            traces.forget(self._connection, [rotation.id])
            self.insert(rotation, claim)

    def archive(self, rotation_ids: Collection[str]) -> int:
        """See the port."""
        return traces.archive(self._connection, rotation_ids)

    def note_revoked(self, authorization_id: str, at: datetime, claim: Claim) -> None:
        """See the port."""
        check_fence(self._connection, claim, claim.name)
        self._connection.execute(_NOTE_REVOKED, {"clone": authorization_id, "at": at})

    def redate(self, after: datetime, at: datetime, claim: Claim) -> None:
        """See the port."""
        record_id = check_fence(self._connection, claim, claim.name)
        mine = or_(table.c.record_id == record_id, table.c.record_id.is_(None))
        self._connection.execute(update(table).where(mine, table.c.updated_at > after).values(updated_at=at))

    def _explain_conflict(self, rotation: Rotation, error: ConstraintError) -> DatabaseError:
        other = self._connection.scalar(
            select(table.c.id).where(table.c.name == rotation.name, table.c.id != rotation.id, ~_is_closed())
        )
        return error if other is None else make_open_already(rotation, other)


def make_unknown(rotation: Rotation) -> DatabaseError:
    """What to raise when a rotation is saved that was never inserted."""
    return DatabaseError(
        f"the journal holds no rotation {rotation.id} of {rotation.name}",
        code="rotation_unknown",
        fix="Report this as a bug in rotator.",
    )


def make_open_already(rotation: Rotation, other: str) -> ClaimHeldError:
    """What to raise when the ManagedPat has another open rotation."""
    return ClaimHeldError(
        f"{rotation.name} already has an open rotation {other}",
        fix="Run `rotator once`: it finishes the open rotation.",
    )


def _is_closed() -> ColumnElement[bool]:
    return table.c.state.in_(sorted(CLOSED_STATES))
