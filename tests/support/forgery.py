"""Somebody who owns the database: drops its triggers, and writes any log and any checkpoints, all hashes made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import create_engine, delete, insert, select, text

from rotator.adapters.database.schema import audit_event, checkpoint
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.audit_event import GENESIS_HASH, AuditEvent, make_hash
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.merkle import GrowingTree
from rotator.ports.signing import Signer

Change = Callable[[list[AuditEvent]], list[AuditEvent]]


def load_log(database: SqlDatabase) -> tuple[list[AuditEvent], list[Checkpoint]]:
    """Return all events and all checkpoints."""
    with database.read() as reading:
        return list(reading.audit.load_after(None, 10_000)), list(reading.checkpoints.load_after(0, 10_000))


def load_numbers(url: str) -> list[int]:
    """Return the numbers of all events."""
    engine = create_engine(url)
    with engine.begin() as connection:
        numbers = list(connection.scalars(select(audit_event.c.sequence).order_by(audit_event.c.sequence)))
    engine.dispose()
    return numbers


def drop_triggers(url: str) -> None:
    """Let any row of the log be changed."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in ("audit_event", "checkpoint"):
            if url.startswith("sqlite"):
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
            else:
                connection.execute(text(f"DROP TRIGGER {table}_no_change ON {table}"))
    engine.dispose()


def execute(url: str, *statements: str) -> None:
    """Run SQL as whoever owns the database."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def chain_anew(events: Sequence[AuditEvent]) -> list[AuditEvent]:
    """Number the events from 1, and make every hash fit."""
    made: list[AuditEvent] = []
    previous = GENESIS_HASH
    for number, event in enumerate(events, start=1):
        digest = make_hash(number, event.occurred_at, event.entry, previous, event.encoding)
        made.append(replace(event, sequence=number, previous_hash=previous, hash=digest))
        previous = digest
    return made


def forge_checkpoint(old: Checkpoint, events: Sequence[AuditEvent], signer: Signer | None) -> Checkpoint:
    """Make a checkpoint that fits these events: with its old signature or, with a signer, another."""
    covered = events[: old.size]
    tree = GrowingTree()
    for event in covered:
        tree.add(bytes.fromhex(event.hash))
    peaks = tuple(peak.hex() for peak in tree.peaks)
    made = replace(old, size=len(covered), head=covered[-1].hash, root=tree.make_root().hex(), peaks=peaks)
    if signer is None:
        return made
    made = replace(made, key_id=make_key_id(signer.public_key))
    return replace(made, signature=signer.sign(made.make_statement()))


def write_log(url: str, events: Sequence[AuditEvent], checkpoints: Sequence[Checkpoint]) -> None:
    """Put this log in place of the one that is there. The triggers must be gone."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(delete(audit_event))
        connection.execute(delete(checkpoint))
        for event in events:
            fields = {name: getattr(event, name) for name in ("sequence", "occurred_at", "previous_hash", "hash")}
            entry = {
                name: getattr(event.entry, name)
                for name in ("event", "subject", "outcome", "actor", "run_id", "details")
            }
            connection.execute(insert(audit_event).values(**fields, **entry, encoding=event.encoding))
        for found in checkpoints:
            values = {column.name: getattr(found, column.name) for column in checkpoint.columns}
            connection.execute(insert(checkpoint).values(values))
    engine.dispose()
