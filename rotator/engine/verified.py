"""From where on the audit log is checked: what was verified once, not long ago, is not read again.

Whoever can write the database can change events that were verified before, and that shows when all is checked again:
each week, whenever a person asks for it, and while the log is known to be broken.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.condition import ConditionKind
from rotator.domain.verified_log import VerifiedLog
from rotator.engine.auditing import find_lasting
from rotator.engine.context import RunContext, Trust
from rotator.engine.waiting import keep_books
from rotator.ports.database import Database


def load_verified(database: Database, trust: Trust | None, now: datetime) -> VerifiedLog | None:
    """Return what was verified before, if a key of ours says so and it still counts; None: check all of the log."""
    with database.read() as reading:
        found = reading.checkpoints.load_verified()
        is_broken = bool(find_lasting(reading, ConditionKind.AUDIT_BROKEN))
    if found is None or trust is None or is_broken or not found.counts_at(now):
        return None
    if any(change.old_id == found.key_id for change in trust.changes.values()):
        return None  # who has a key that was replaced could say it anew each day
    key = trust.find_key(found.key_id, found.size)
    return found if key is not None and trust.is_signed(found.make_statement(), found.signature, key) else None


def save_verified(run: RunContext, sealed: Checkpoint | None, checkpoints: int, before: VerifiedLog | None) -> None:
    """Remember that the log is intact up to a signed checkpoint; `before`: what was not checked again."""
    signer = run.services.signer
    if sealed is None or signer is None:
        return
    found = VerifiedLog(
        installation=sealed.installation,
        size=sealed.size,
        head=sealed.head,
        checkpoints=checkpoints,
        checked_at=before.checked_at if before else run.services.clock.now(),
        key_id=make_key_id(signer.public_key),
    )
    signed = replace(found, signature=signer.sign(found.make_statement()))

    def write() -> None:
        with run.services.database.begin() as work:
            work.checkpoints.save_verified(signed)

    keep_books(run.services, write)
