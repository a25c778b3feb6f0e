"""What is kept of each rotation for ever: of an old one in `old_rotation`, of any other in its row of the journal."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
)

from rotator.adapters.database.columns import Moment
from rotator.adapters.database.engine import lock_topic, make_shares
from rotator.adapters.database.records import OLD_COLUMNS, TRACE_COLUMNS, make_trace
from rotator.adapters.database.schema import OPEN, old_rotation, rotation
from rotator.domain.rotation import RotationState, Trace

# Made once: building a statement costs the library more than executing it does.
_NAMED: BindParameter[str] = bindparam("named", expanding=True)
_TABLES = ((rotation, TRACE_COLUMNS), (old_rotation, OLD_COLUMNS))


def _select_named(*names: str) -> list[Select[Any]]:
    """Select from both tables by each of these columns: each has its index."""
    return [select(*columns).where(table.c[name].in_(_NAMED)) for table, columns in _TABLES for name in names]


def _are_before(moment: str, names: Iterable[str], otherwise: Column[Any]) -> ColumnElement[bool]:
    before = bindparam(moment, type_=Moment())
    return and_(*(func.coalesce(rotation.c[name], otherwise) < before for name in names), otherwise < before)


_OPEN_WRITERS = select(*TRACE_COLUMNS).where(rotation.c.location == bindparam("place"), OPEN)
_WRITERS = union_all(_OPEN_WRITERS, *_select_named("id", "secret_version", "new_authorization_id"))
_NAMING = union_all(*_select_named("predecessor_id", "new_authorization_id"))
_KNOWN = union_all(*(select(table.c.id).where(table.c.id.in_(_NAMED)) for table, _ in _TABLES))
_PAST = (
    select(*TRACE_COLUMNS)
    .where(
        or_(
            rotation.c.state == RotationState.ABANDONED,
            and_(rotation.c.state == RotationState.COMPLETED, ~rotation.c.keeps_predecessor),
        ),
        _are_before("changed", ("updated_at", "sent_at", "mint_begun_at"), rotation.c.created_at),
        _are_before("ended", ("planned_valid_to", "new_valid_to", "overlap_until"), rotation.c.predecessor_valid_to),
        rotation.c.id > bindparam("after"),
    )
    .order_by(rotation.c.id)
    .limit(bindparam("most"))
)


def load_writers(connection: Connection, place: str, named: Collection[str]) -> tuple[Trace, ...]:
    """See `load_writers` of the port JournalReader."""
    found: dict[str, Trace] = {}
    for share in [*make_shares(named)] or [[]]:
        query = _WRITERS if share else _OPEN_WRITERS
        found |= {row[0]: make_trace(row) for row in connection.execute(query, {"place": place, "named": share})}
    here = [trace for trace in found.values() if trace.place == place]
    return tuple(sorted(here, key=_get_age, reverse=True))


def load_traces(connection: Connection, authorization_ids: Collection[str]) -> tuple[Trace, ...]:
    """See `load_traces` of the port JournalReader."""
    found: dict[str, Trace] = {}
    for share in make_shares(authorization_ids):
        found |= {row[0]: make_trace(row) for row in connection.execute(_NAMING, {"named": share})}
    return tuple(sorted(found.values(), key=_get_age))


def find_known(connection: Connection, rotation_ids: Collection[str]) -> frozenset[str]:
    """See `find_known` of the port JournalReader."""
    shares = make_shares(rotation_ids)
    return frozenset(found for share in shares for found in connection.scalars(_KNOWN, {"named": share}))


def load_past(connection: Connection, changed: datetime, ended: datetime, after: str, limit: int) -> tuple[Trace, ...]:
    """See `load_past` of the port JournalReader."""
    values = {"changed": changed, "ended": ended, "after": after, "most": limit}
    return tuple(make_trace(row) for row in connection.execute(_PAST, values))


def archive(connection: Connection, rotation_ids: Collection[str]) -> int:
    """See `archive` of the port Journal."""
    lock_topic(connection, "old rotations")
    moved = 0
    for share in make_shares(rotation_ids):
        mine = rotation.c.id.in_(share)
        forget(connection, connection.scalars(select(rotation.c.id).where(mine)).all())
        names = [column.name for column in OLD_COLUMNS]
        connection.execute(insert(old_rotation).from_select(names, select(*TRACE_COLUMNS).where(mine)))
        moved += connection.execute(delete(rotation).where(mine)).rowcount
    return moved


def forget(connection: Connection, rotation_ids: Collection[str]) -> None:
    """Delete the traces of these rotations, which are in the journal, or are entered into it."""
    connection.execute(delete(old_rotation).where(old_rotation.c.id.in_(rotation_ids)))


def _get_age(trace: Trace) -> tuple[datetime, str]:
    return trace.created_at, trace.id
