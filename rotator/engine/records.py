"""What our own records account for, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.context import RunContext
from rotator.ports.database import Reading

LATE_STORE_SPAN = timedelta(days=7)
"""For how long after a rotation was closed an unanswered write of it is looked for."""


@dataclass(frozen=True)
class Known:
    """The inventory, and the rotations that can explain what the server or the vault shows."""

    pats: tuple[ManagedPat, ...]
    open_rotations: tuple[Rotation, ...]
    unconfirmed: tuple[Rotation, ...]
    failed: tuple[Rotation, ...]
    late_stores: tuple[Rotation, ...]
    minted_ids: frozenset[str]
    tracked_ids: frozenset[str]
    """Return every authorization id that the inventory or an open rotation accounts for."""


def load_known(run: RunContext) -> Known:
    """Load inventory and journal as they are now."""
    with run.services.database.read() as reading:
        return known_in(reading, run.services.clock.now())


def load_accounted_ids(reading: Reading) -> frozenset[str]:
    """Return every id, in lower case, that the inventory or the journal names as current, minted or to be retired."""
    named = {pat.authorization_id for pat in reading.inventory.load_all()} | reading.journal.load_minted_ids()
    named |= {rotation.predecessor_id for rotation in reading.journal.load_open()}
    return frozenset(identifier.lower() for identifier in named)


def known_in(reading: Reading, now: datetime) -> Known:
    """Load inventory and journal as this transaction sees them."""
    pats, open_rotations = reading.inventory.load_all(), reading.journal.load_open()
    tracked = {pat.authorization_id for pat in pats} | {rotation.predecessor_id for rotation in open_rotations}
    return Known(
        pats=pats,
        open_rotations=open_rotations,
        unconfirmed=reading.journal.load_unconfirmed(now),
        failed=reading.journal.load_failed(),
        late_stores=reading.journal.load_late_stores(now - LATE_STORE_SPAN),
        minted_ids=reading.journal.load_minted_ids(),
        tracked_ids=frozenset(tracked | {r.new_authorization_id for r in open_rotations if r.new_authorization_id}),
    )
