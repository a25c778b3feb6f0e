"""What our own records account for, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.context import RunContext
from rotator.ports.database import UnitOfWork

LATE_STORE_SPAN = timedelta(days=7)
"""For how long after a rotation was closed an unanswered write of it is looked for."""


@dataclass(frozen=True)
class Known:
    """The inventory, and those rotations that a look at the server or the vault must be explained with."""

    pats: tuple[ManagedPat, ...]
    open_rotations: tuple[Rotation, ...]
    unconfirmed: tuple[Rotation, ...]
    failed: tuple[Rotation, ...]
    late_stores: tuple[Rotation, ...]
    minted_ids: frozenset[str]
    tracked_ids: frozenset[str]
    """Every authorization id that the inventory or an open rotation accounts for."""


def load_known(run: RunContext) -> Known:
    """Read inventory and journal in one transaction."""
    with run.services.database.begin() as work:
        return known_in(work, run.services.clock.now())


def known_in(work: UnitOfWork, now: datetime) -> Known:
    """Inventory and journal as this transaction sees them."""
    pats, open_rotations = work.inventory.load_all(), work.journal.load_open()
    tracked = {pat.authorization_id for pat in pats} | {rotation.predecessor_id for rotation in open_rotations}
    return Known(
        pats=pats,
        open_rotations=open_rotations,
        unconfirmed=work.journal.load_unconfirmed(now),
        failed=work.journal.load_failed(),
        late_stores=work.journal.load_late_stores(now - LATE_STORE_SPAN),
        minted_ids=work.journal.load_minted_ids(),
        tracked_ids=frozenset(tracked | {r.new_authorization_id for r in open_rotations if r.new_authorization_id}),
    )
