"""Claims on ManagedPats, and the fence that every claimed write passes.

A claim is a conditional UPDATE of one row, so it is atomic on both databases without a lock of its own. Each raises the
row's epoch by one. A write made under a claim must find the epoch and the claimant unchanged: a process that was frozen
for longer than its lease cannot, when it thaws, overwrite the work of whoever took over.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, update

from rotator.adapters.database.schema import managed_pat as table
from rotator.domain.words import say_moment
from rotator.errors import ClaimHeldError, ClaimLostError, NotManagedError
from rotator.ports.claims import Claim

# Made once: building a statement costs the library more than executing it does.
_HELD = and_(
    table.c.name == bindparam("held_name"),
    table.c.epoch == bindparam("held_epoch"),
    table.c.claimed_by == bindparam("held_by"),
)
_FENCE = select(table.c.epoch).where(_HELD).with_for_update()
_CHANGE = update(table).where(_HELD)


def _list_held(claim: Claim) -> dict[str, object]:
    return {"held_name": claim.name, "held_epoch": claim.epoch, "held_by": claim.claimant}


def check_fence(connection: Connection, claim: Claim, name: str) -> None:
    """ClaimLostError unless the claim is the current one on `name`.

    FOR UPDATE (PostgreSQL) keeps the row as it is until the transaction ends, so that nobody can take the claim over
    between this check and the commit. On SQLite there is no other writer.
    """
    held = connection.scalar(_FENCE, _list_held(claim))
    if held is None or claim.name != name:
        raise make_lost(claim)


def make_lost(claim: Claim) -> ClaimLostError:
    """What to raise when the claim is no longer the current one."""
    return ClaimLostError(
        f"the claim of {say_claimant(claim.claimant)} on {claim.name} was taken over or given back",
        fix="Nothing to do: the run that holds it now continues. If it happens often, raise `rotation.lease`.",
    )


def say_claimant(claimant: str) -> str:
    """`run 7c9e...`, without the host and the process that a claimant also names."""
    return f"run {claimant.split('@', 1)[0]}"


def make_held(name: str, claimant: str, until: datetime) -> ClaimHeldError:
    """What to raise while another claim is valid."""
    return ClaimHeldError(
        f"{say_claimant(claimant)} is working on {name}, until {say_moment(until)} at the latest",
        fix="Wait for the other run to end, then try again.",
    )


def make_missing(name: str) -> NotManagedError:
    """What to raise when there is no such record."""
    return NotManagedError(f"there is no managed PAT {name}", fix="See `rotator inventory list` for the names.")


class SqlClaims:
    """The port Claims."""

    def __init__(self, connection: Connection, is_gone: Callable[[str], bool]) -> None:
        self._connection = connection
        self._is_gone = is_gone

    def claim(self, name: str, claimant: str, *, now: datetime, span: timedelta) -> Claim:
        """See the port. NotManagedError when there is no record. A claim whose process has ended does not count."""
        free = or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now)
        if not self._take(name, free, claimant, now + span):
            row = self._connection.execute(
                select(table.c.epoch, table.c.claimed_by, table.c.claimed_until).where(table.c.name == name)
            ).one_or_none()
            if row is None:
                raise make_missing(name)
            of_the_dead = and_(table.c.epoch == row.epoch, table.c.claimed_by == row.claimed_by)
            if not self._is_gone(row.claimed_by) or not self._take(name, of_the_dead, claimant, now + span):
                raise make_held(name, row.claimed_by, row.claimed_until)
        epoch = self._connection.execute(select(table.c.epoch).where(table.c.name == name)).scalar_one()
        return Claim(name, claimant, epoch, now + span)

    def _take(self, name: str, condition: ColumnElement[bool], claimant: str, until: datetime) -> bool:
        taken = self._connection.execute(
            update(table)
            .where(table.c.name == name, condition)
            .values(epoch=table.c.epoch + 1, claimed_by=claimant, claimed_until=until)
        )
        return taken.rowcount > 0

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """See the port."""
        until = now + span
        renewed = self._connection.execute(_CHANGE, {**_list_held(claim), "claimed_until": until})
        if renewed.rowcount == 0:
            raise make_lost(claim)
        return Claim(claim.name, claim.claimant, claim.epoch, until)

    def release(self, claim: Claim) -> None:
        """See the port."""
        self._connection.execute(_CHANGE, {**_list_held(claim), "claimed_by": None, "claimed_until": None})
