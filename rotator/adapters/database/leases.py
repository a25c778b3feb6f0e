"""Claims on ManagedPats, and the fence that every claimed write passes.

A claim is a conditional UPDATE of one row, so it is atomic on both databases without a lock of its own. Each raises the
row's epoch by one. A write made under a claim must find the epoch and the run unchanged: a process that was frozen
beyond its lease and thaws cannot write over the work of the run that took over.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from rotator.adapters.database.schema import managed_pat as table
from rotator.domain.words import say_moment
from rotator.engine.ports import Claim
from rotator.errors import LeaseHeldError, LeaseLostError, UsageError


def holds(claim: Claim) -> ColumnElement[bool]:
    """The condition that a row of `managed_pat` is still this claim's."""
    return and_(table.c.name == claim.name, table.c.epoch == claim.epoch, table.c.claimed_by == claim.run_id)


def check_fence(connection: Connection, claim: Claim, name: str) -> None:
    """LeaseLostError unless the claim is the current one on `name`.

    FOR UPDATE (PostgreSQL) keeps the row as it is until the transaction ends, so that nobody can take the claim over
    between this check and the commit. On SQLite no other writer runs beside.
    """
    held = connection.scalar(select(table.c.epoch).where(holds(claim)).with_for_update())
    if held is None or claim.name != name:
        raise make_lost(claim)


def make_lost(claim: Claim) -> LeaseLostError:
    """What to raise when the claim is no longer the current one."""
    return LeaseLostError(
        f"the claim of run {claim.run_id} on {claim.name} was taken over or given back",
        fix="Nothing to do: the run that holds it now goes on. If it happens often, raise `rotation.lease`.",
    )


def make_held(name: str, run_id: str, until: datetime) -> LeaseHeldError:
    """What to raise while another run's claim lasts."""
    return LeaseHeldError(
        f"run {run_id} works on {name}, until {say_moment(until)} at the latest",
        fix="Wait for the other run to end, then try again.",
    )


def make_missing(name: str) -> UsageError:
    """What to raise when there is no such record."""
    return UsageError(
        f"there is no managed PAT {name}", code="unknown_name", fix="See `rotator inventory list` for the names."
    )


class SqlLeases:
    """The port Leases."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, name: str, run_id: str, *, now: datetime, span: timedelta) -> Claim:
        """See the port. UsageError when there is no such ManagedPat."""
        free = or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now, table.c.claimed_by == run_id)
        until = now + span
        taken = self._connection.execute(
            update(table)
            .where(table.c.name == name, free)
            .values(epoch=table.c.epoch + 1, claimed_by=run_id, claimed_until=until)
        )
        row = self._connection.execute(
            select(table.c.epoch, table.c.claimed_by, table.c.claimed_until).where(table.c.name == name)
        ).one_or_none()
        if row is None:
            raise make_missing(name)
        if taken.rowcount == 0:
            raise make_held(name, row.claimed_by, row.claimed_until)
        return Claim(name, run_id, row.epoch, until)

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """See the port."""
        until = now + span
        renewed = self._connection.execute(update(table).where(holds(claim)).values(claimed_until=until))
        if renewed.rowcount == 0:
            raise make_lost(claim)
        return Claim(claim.name, claim.run_id, claim.epoch, until)

    def release(self, claim: Claim) -> None:
        """See the port."""
        self._connection.execute(update(table).where(holds(claim)).values(claimed_by=None, claimed_until=None))
