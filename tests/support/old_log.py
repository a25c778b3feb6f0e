"""An audit log of long ago, with signed checkpoints, in a database of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import create_engine, insert

from rotator.adapters.database.schema import audit_event
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, is_signed
from rotator.domain.audit_event import AuditEvent, make_event
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.ports.database import Database
from tests.support.clock import FakeClock
from tests.support.engine import make_world
from tests.support.records import NOW, make_entry

LATER = NOW + timedelta(days=40)
"""When somebody looks at it."""


def make_old_run(database: Database, signer: Ed25519Signer | None) -> RunContext:
    """Make a run on the database, forty days after the events."""
    world = make_world()
    trust = Trust((signer.public_key,), is_signed) if signer else Trust((), is_signed)
    services = world.make_services()
    return world.make_run(replace(services, database=database, signer=signer, trust=trust, clock=FakeClock(LATER)))


def make_moment(number: int) -> datetime:
    """Return when the event of that number happened."""
    return NOW + timedelta(seconds=number)


def fill_old_log(url: str, signer: Ed25519Signer, sizes: Sequence[int], special: Mapping[int, str]) -> None:
    """Write events one second apart up to the last size, with a checkpoint at each but the last.

    `special` are the kinds of those that are no `rotation_planned`, by number.
    """
    database, previous = SqlDatabase(url), None
    for size in sizes:
        events: list[AuditEvent] = []
        for number in range(previous.sequence + 1 if previous else 1, size + 1):
            entry = make_entry(special.get(number, "rotation_planned"), subject=f"feed-{number}")
            previous = make_event(entry, previous=previous, occurred_at=make_moment(number))
            events.append(previous)
        insert_events(url, events)
        if size != sizes[-1]:
            seal(make_old_run(database, signer), timedelta(0), begins=True)
    database.close()


def insert_events(url: str, events: Sequence[AuditEvent]) -> None:
    """Insert the events as they are."""
    engine = create_engine(url)
    named = ("sequence", "occurred_at", "previous_hash", "hash", "encoding")
    with engine.begin() as connection:
        rows = [{name: getattr(event, name) for name in named} | vars(event.entry) for event in events]
        connection.execute(insert(audit_event), rows)
    engine.dispose()
