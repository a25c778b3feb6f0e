"""The checkpoints of the audit log. The database itself refuses to change or delete a row (by triggers)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select

from rotator.adapters.database.engine import lock_topic
from rotator.adapters.database.failures import DamagedValueError
from rotator.adapters.database.schema import checkpoint as table
from rotator.adapters.database.schema import verified_log
from rotator.domain.canonical import LARGEST
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.verified_log import VerifiedLog
from rotator.errors import AuditChainError

_LOAD_NEWEST = select(table).order_by(table.c.size.desc()).limit(1)
_UNREADABLE = (AttributeError, DamagedValueError, RecursionError, TypeError, ValueError)
_VERIFIED = tuple(field.name for field in fields(VerifiedLog))
_TEXTS = ("head", "root", "installation")


class SqlCheckpointsReader:
    """The port CheckpointsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load_newest(self) -> Checkpoint | None:
        """See the port."""
        return next(self._load(_LOAD_NEWEST), None)

    def load_signed(self, within: int) -> Checkpoint | None:
        """See the port."""
        return next(self._load(_LOAD_NEWEST.where(table.c.size <= within, table.c.signature.is_not(None))), None)

    def load_after(self, size: int, limit: int) -> Iterator[Checkpoint]:
        """See the port."""
        return self._load(select(table).where(table.c.size > size).order_by(table.c.size).limit(limit))

    def load_verified(self) -> VerifiedLog | None:
        """See the port."""
        try:
            row = self._connection.execute(select(verified_log)).one_or_none()
            return None if row is None else VerifiedLog(**{name: row._mapping[name] for name in _VERIFIED})
        except _UNREADABLE:
            return None

    def _load(self, query: Select[Any]) -> Iterator[Checkpoint]:
        found = 0
        with self._connection.execute(query) as rows:
            try:
                for row in rows:
                    yield _make_checkpoint(row)
                    found += 1
            except _UNREADABLE as error:
                at_fault = query.with_only_columns(table.c.size).offset(found).limit(1)
                raise _make_unreadable(self._connection.scalar(at_fault)) from error


class SqlCheckpoints(SqlCheckpointsReader):
    """The port Checkpoints."""

    def hold(self, size: int) -> bool:
        """See the port. On PostgreSQL by an advisory lock."""
        lock_topic(self._connection, "checkpoint")
        newest = self.load_newest()
        return (newest.size if newest else 0) == size

    def add(self, checkpoint: Checkpoint, after: int) -> bool:
        """See the port."""
        if not self.hold(after):
            return False
        values = {column.name: getattr(checkpoint, column.name) for column in table.columns}
        self._connection.execute(insert(table).values(values))
        return True

    def save_verified(self, verified: VerifiedLog) -> None:
        """See the port."""
        self._connection.execute(delete(verified_log))
        self._connection.execute(insert(verified_log).values(id=1, **vars(verified)))


def _make_checkpoint(row: Row[Any]) -> Checkpoint:
    """Make a checkpoint; raises one of `_UNREADABLE` for what rotator never writes."""
    numbers = all(isinstance(number, int) and 0 <= number <= LARGEST for number in (row.size, row.anchors))
    optional = (row.key_id, row.signature)
    if not numbers or not all(isinstance(getattr(row, name), str) for name in _TEXTS):
        raise TypeError("a column holds a value of another type")
    if not all(text is None or isinstance(text, str) for text in optional):
        raise TypeError("a column holds a value of another type")
    return Checkpoint(
        size=row.size,
        head=row.head,
        root=row.root,
        installation=row.installation,
        made_at=row.made_at,
        anchors=row.anchors,
        key_id=row.key_id,
        signature=row.signature,
        peaks=row.peaks,
    )


def _make_unreadable(size: Any) -> AuditChainError:
    return AuditChainError(
        f"the checkpoint of {size} audit events was altered after it was written: it cannot be read",
        sequence=size if isinstance(size, int) else 0,
        expected="a checkpoint as rotator writes it",
        found="a row that cannot be read",
        fix="Keep the database as it is for the investigation, and compare it with a backup.",
    )
