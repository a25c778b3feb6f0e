"""The hash chain of audit events. The database itself refuses to change a row, and to delete one (by triggers).

Only what a `log_archived` covers may be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    Text,
    TextualSelect,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
)

from rotator.adapters.database.engine import HEAD, is_postgresql, number_topic
from rotator.adapters.database.failures import DamagedValueError
from rotator.adapters.database.postgresql import lock_and
from rotator.adapters.database.schema import audit_event as table
from rotator.domain.audit_event import AuditEntry, AuditEvent, make_event
from rotator.domain.canonical import LARGEST
from rotator.domain.managed_pat import check_aware
from rotator.errors import AuditChainError
from rotator.ports.audit_log import EVERY_EVENT, AuditFilter

# Made once: building a statement costs the library more than executing it does.
_APPEND = insert(table)
_LOAD_HEAD = select(table).order_by(table.c.sequence.desc()).limit(1)
_LOAD_NEWEST_NUMBER = _LOAD_HEAD.with_only_columns(table.c.sequence)
_UNREADABLE = (AttributeError, DamagedValueError, RecursionError, TypeError, ValueError)
"""What making an event from a row raises when somebody has put into it what rotator never writes."""


class SqlAuditLogReader:
    """The port AuditLogReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self, number: int) -> AuditEvent | None:
        """See the port."""
        return next(self._load(select(table).where(table.c.sequence == number)), None)

    def load_head(self) -> AuditEvent | None:
        """See the port."""
        return next(self._load(_LOAD_HEAD), None)

    def load_newest_number(self) -> int:
        """See the port."""
        number = self._connection.scalar(_LOAD_NEWEST_NUMBER) or 0
        if not isinstance(number, int):  # SQLite takes anything in any column
            raise _make_unreadable(number)
        return number

    def find_first(self, but_for: Collection[str]) -> int | None:
        """See the port."""
        query = select(table.c.sequence).where(table.c.event.not_in(sorted(but_for)))
        number = self._connection.scalar(query.order_by(table.c.sequence).limit(1))
        if not isinstance(number, int | None):
            raise _make_unreadable(number)
        return number

    def count(self, events: Collection[str], after: int) -> Mapping[str, int]:
        """See the port. The index by event answers it."""
        wanted = select(table.c.event, func.count()).where(table.c.event.in_(sorted(events)), table.c.sequence > after)
        return {row[0]: row[1] for row in self._connection.execute(wanted.group_by(table.c.event))}

    def load_named(self, events: Collection[str], after: int, limit: int) -> tuple[AuditEvent, ...]:
        """See the port. The index by event answers it."""
        query = select(table).where(table.c.event.in_(sorted(events)), table.c.sequence > after)
        return tuple(self._load(query.order_by(table.c.sequence).limit(limit)))

    def load_newest(self, limit: int, wanted: AuditFilter = EVERY_EVENT) -> tuple[AuditEvent, ...]:
        """See the port."""
        values = _list_wanted(wanted)
        return tuple(self._load(_select_newest(tuple(values)), {**values, "at_most": limit}))[::-1]

    def load_after(self, number: int | None, limit: int, wanted: AuditFilter = EVERY_EVENT) -> Iterator[AuditEvent]:
        """See the port."""
        values = _list_wanted(wanted)
        query = _select(tuple(values)).order_by(table.c.sequence).limit(limit)
        return self._load(query if number is None else query.where(table.c.sequence > number), values)

    def load_hashes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """See the port."""
        query = select(table.c.sequence, table.c.hash).where(table.c.sequence > after)
        return [(row[0], row[1]) for row in self._connection.execute(query.order_by(table.c.sequence).limit(limit))]

    def load_times(self, after: int, limit: int) -> Sequence[tuple[int, datetime]]:
        """See the port."""
        query = select(table.c.sequence, table.c.occurred_at).where(table.c.sequence > after)
        found = self._connection.execute(query.order_by(table.c.sequence).limit(limit))
        try:
            return [(_check_number(row[0]), check_aware(row[1])) for row in found]
        except _UNREADABLE as error:
            raise _make_unreadable(None) from error

    def _load(self, query: Select[Any], values: Mapping[str, object] | None = None) -> Iterator[AuditEvent]:
        """Row by row, valid inside the transaction only."""
        found = 0
        with self._connection.execute(query, values) as rows:
            try:
                for row in rows:
                    yield _make_event(row)
                    found += 1
            except _UNREADABLE as error:
                at_fault = query.with_only_columns(table.c.sequence).offset(found).limit(1)
                raise _make_unreadable(self._connection.scalar(at_fault, values)) from error


class SqlAuditLog(SqlAuditLogReader):
    """The port AuditLog."""

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """See the port.

        FOR UPDATE locks rows, and cannot keep others from adding one at the end. So PostgreSQL holds an advisory
        lock until the transaction ends: numbers have no gaps, and a rollback leaves none.
        """
        info = self._connection.info
        previous = info[HEAD] if HEAD in info else self._lock_head()
        event = make_event(entry, previous=previous, occurred_at=occurred_at.astimezone(UTC))
        entry = event.entry  # as it was hashed
        self._connection.execute(
            _APPEND,
            {
                "sequence": event.sequence,
                "occurred_at": event.occurred_at,
                "event": entry.event,
                "subject": entry.subject,
                "outcome": entry.outcome,
                "actor": entry.actor,
                "run_id": entry.run_id,
                "details": entry.details,
                "previous_hash": event.previous_hash,
                "hash": event.hash,
                "encoding": event.encoding,
            },
        )
        info[HEAD] = event  # nobody else writes one before this transaction ends
        return event

    def _lock_head(self) -> AuditEvent | None:
        """Return the last event, which stays that until the transaction ends: lock and look are one request.

        Whoever waits for the lock waits for what the holder still has to ask the server, and for no more.
        """
        if not is_postgresql(self._connection):
            return self.load_head()
        try:
            row = self._connection.execute(_make_lock_head()).one_or_none()
            return None if row is None else _make_event(row)
        except _UNREADABLE:
            return self.load_head()  # which says what cannot be read

    def delete_archived(self, last: int, kept: Collection[str], limit: int) -> int:
        """See the port."""
        self._connection.info.pop(HEAD, None)
        old = select(table.c.sequence).where(table.c.sequence <= last, table.c.event.not_in(sorted(kept)))
        first = old.order_by(table.c.sequence).limit(limit)
        return self._connection.execute(delete(table).where(table.c.sequence.in_(first))).rowcount


@cache
def _make_lock_head() -> TextualSelect:
    return lock_and(number_topic("audit"), _LOAD_HEAD)


def _list_wanted(wanted: AuditFilter) -> dict[str, object]:
    """Return what is asked for, by the names that `_select` knows."""
    values = {name: value for name, value in vars(wanted).items() if value is not None}
    if wanted.authorization_id is not None:
        # As `Details` writes it. A quotation mark inside of a text is escaped there, so no text looks like a field.
        values["authorization_id"] = json.dumps({"authorization_id": wanted.authorization_id})[1:-1]
    return values


@cache
def _select(names: tuple[str, ...]) -> Select[Any]:
    """Return the statement that asks for these; its values have the same names."""
    query = select(table)
    for name in names:
        value: BindParameter[Any] = bindparam(name)
        if name == "authorization_id":
            stored = type_coerce(table.c.details, Text)
            query = query.where(func.replace(stored, value, "") != stored)  # exact in both databases, as LIKE is not
        elif name == "since":
            query = query.where(table.c.occurred_at >= value)
        elif name == "until":
            query = query.where(table.c.occurred_at < value)
        else:
            query = query.where(table.c[name] == value)
    return query


@cache
def _select_newest(names: tuple[str, ...]) -> Select[Any]:
    return _select(names).order_by(table.c.sequence.desc()).limit(bindparam("at_most"))


def _make_event(row: Row[Any]) -> AuditEvent:
    """Make an event of the columns in their order; raises one of `_UNREADABLE` for a row that could not be hashed."""
    sequence, occurred_at, event, subject, outcome, actor, run_id, details, previous_hash, digest, encoding = tuple(row)
    for text in (event, subject, actor, run_id, previous_hash, digest):
        if not isinstance(text, str):
            raise TypeError("a column holds a value of another type")
    if not isinstance(details, dict) or not isinstance(encoding, int):
        raise TypeError("a column holds a value of another type")
    sequence = _check_number(sequence)
    entry = AuditEntry(event, subject, outcome, actor, run_id, details)
    return AuditEvent(sequence, check_aware(occurred_at), entry, previous_hash, digest, encoding)


def _check_number(number: Any) -> int:
    """Return the number of an event; TypeError or ValueError for what rotator never counts to."""
    if not isinstance(number, int):  # SQLite takes anything in any column
        raise TypeError("the number of an event is no number")
    if not 0 < number <= LARGEST:
        raise ValueError("the number of an event is none that can be hashed")
    return number


def _make_unreadable(number: Any) -> AuditChainError:
    return AuditChainError(
        f"audit event {number} was altered after it was written: it cannot be read",
        sequence=number if isinstance(number, int) else 0,
        expected="an event as rotator writes it",
        found="a row that cannot be read",
        fix="Keep the database as it is for the investigation, and compare it with a backup from this event on.",
    )
