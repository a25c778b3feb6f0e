"""Rotations without a record: closed, so that what they left alive is reported, not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rotator.domain.events.rotations import RotationClosed
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.moments import read_moments
from rotator.engine.records import add_moved
from rotator.ports.claims import Claim
from rotator.ports.database import UnitOfWork

RECORD_GONE = "record_gone"
"""The code of the failure of such a rotation."""


def close_forgotten(run: RunContext) -> tuple[Rotation, ...]:
    """Close every open rotation of a ManagedPat that is no longer in the inventory, and return them.

    Nothing is sent: nobody can tell any more which of its PATs is in use. Both of them, or a lost mint, are left behind
    from now on.
    """
    with run.services.database.read() as reading:
        forgotten = [rotation for rotation in reading.journal.load_open() if not rotation.has_record]
    closed = [_close(run, rotation.name) for rotation in forgotten]
    return tuple(rotation for found in closed for rotation in found)


def _close(run: RunContext, name: str) -> list[Rotation]:
    """Close those of one name."""
    failure = Failure(
        RECORD_GONE,
        f"{name} left the inventory while a rotation of it was not finished; nothing was revoked",
        "`rotator scan` shows what it left behind: adopt the PAT that is used, revoke the others in Azure DevOps.",
    )
    with run.services.database.begin() as work:
        unfinished = [r for r in work.journal.load_open() if r.name == name and not r.has_record]
        if not unfinished:
            return []
        at, now = max(read_moments(run, work)), run.services.clock.now()
        for rotation in unfinished:
            add_moved(rotation, work)
        with standing_in(run, work, unfinished[0]) as claim:
            for rotation in unfinished:
                work.journal.save(rotation.give_up(failure, at), claim)
        for rotation in unfinished:
            closed = RotationClosed(code=failure.code, state=rotation.state.value)
            record(work, run, name, closed, now, rotation_id=rotation.id)
    return [replace(rotation, failure=failure) for rotation in unfinished]


@contextmanager
def standing_in(run: RunContext, work: UnitOfWork, rotation: Rotation) -> Iterator[Claim]:
    """Claim a record that lives as long as this: no rotation is written without a claim.

    UsageError when the inventory has another record of that name.
    """
    work.inventory.add(_make_stand_in(rotation))
    claim = work.claims.claim(rotation.name, run.claimant, now=work.now(), span=run.services.timing.lease)
    yield claim
    work.inventory.remove(rotation.name, claim)


def _make_stand_in(rotation: Rotation) -> ManagedPat:
    """A record that collides with no other: its PAT and its secret are named after the rotation's id."""
    return ManagedPat(
        name=rotation.name,
        account=rotation.account,
        organization=rotation.organization,
        authorization_id=rotation.id,
        display_name=rotation.display_name,
        scope=rotation.scope,
        valid_from=rotation.created_at,
        valid_to=rotation.predecessor_valid_to,
        vault=rotation.vault,
        secret_name=rotation.id,
    )
