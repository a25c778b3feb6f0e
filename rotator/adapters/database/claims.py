"""Claims on ManagedPats, and the fence that every claimed write passes.

A claim is a conditional UPDATE of one row, so it is atomic on both databases without a lock of its own. Each raises the
row's epoch by one. A write made under a claim must find the epoch and the claimant unchanged: a process that was frozen
for longer than its lease cannot, when it thaws, overwrite the work of whoever took over. How long a claim lasts is
measured by the boot clock where it was made in this boot of this host. One that a daemon made is over before that when
its heartbeat stays away, as `watch` sees that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, select, update

from rotator.adapters.database.engine import FENCED, make_shares
from rotator.adapters.database.schema import heartbeat
from rotator.adapters.database.schema import managed_pat as table
from rotator.adapters.database.sights import keep_sights, load_sights
from rotator.adapters.database.watch import Bond, ClaimsWatch
from rotator.domain.clocks import BootMoment
from rotator.domain.job_run import Heartbeat, find_process
from rotator.domain.next_step import LONG_AGO
from rotator.domain.words import say_moment
from rotator.errors import ClaimHeldError, ClaimLostError, NotManagedError
from rotator.ports.claims import Claim
from rotator.ports.clock import BootClock

# Made once: building a statement costs the library more than executing it does.
_HELD = and_(
    table.c.name == bindparam("held_name"),
    table.c.epoch == bindparam("held_epoch"),
    table.c.claimed_by == bindparam("held_by"),
)
_FENCE = select(table.c.record_id).where(_HELD).with_for_update()
_CHANGE = update(table).where(_HELD)
_RENEW = _CHANGE.returning(table.c.record_id)
_LOAD_HELD = select(table.c.name, table.c.epoch, table.c.claimed_by, table.c.claimed_until, table.c.claimed_at)
_LOAD_CLAIMED = _LOAD_HELD.where(table.c.next_at <= LONG_AGO, table.c.claimed_by.is_not(None))
"""By the index of what is due: a claim makes its record due."""
_LOAD_BEATS = select(heartbeat.c.holder, heartbeat.c.beat_at, heartbeat.c.binds_for).where(
    heartbeat.c.binds_for.is_not(None)
)


def _list_held(claim: Claim) -> dict[str, object]:
    return {"held_name": claim.name, "held_epoch": claim.epoch, "held_by": claim.claimant}


def check_fence(connection: Connection, claim: Claim, name: str) -> str:
    """Return the id of the record called `name`; ClaimLostError unless the claim is the current one on it.

    FOR UPDATE (PostgreSQL) keeps the row as it is until the transaction ends, so that nobody can take the claim over
    between this check and the commit. On SQLite there is no other writer. A claim that this transaction has renewed is
    not looked at again: since then the row is locked.
    """
    renewed, record_id = connection.info.get(FENCED, (None, None))
    held: str | None = record_id if renewed == _list_held(claim) else connection.scalar(_FENCE, _list_held(claim))
    if held is None or claim.name != name:
        raise make_lost(claim)
    return held


LONGEST_LEASE = timedelta(hours=1)
"""No claim lasts longer than this unrenewed, whatever its stored end says: a wrong clock may have written that."""


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


@dataclass(frozen=True)
class Held:
    """A claim as it is stored: whose, until when by the database's clock, made when by the claimant's boot clock."""

    claimant: str | None
    until: datetime | None
    made_at: BootMoment | None

    @property
    def process(self) -> str:
        """The host and the process of its claimant, where they are known."""
        return find_process(self.claimant or "")


@dataclass(frozen=True)
class Bindings:
    """How long claims still bind, by name: none or less for one that is over; and those of `late` daemons."""

    lefts: Mapping[str, timedelta]
    late: frozenset[str]

    @property
    def held(self) -> frozenset[str]:
        """The names of those that bind."""
        return frozenset(name for name, left in self.lefts.items() if left > timedelta(0))

    @property
    def next_over(self) -> timedelta | None:
        """How long until one is over that nobody renews, as far as is known; None when there is none."""
        ending = (left for name, left in self.lefts.items() if name in self.late or name not in self.held)
        return min((max(left, timedelta(0)) for left in ending), default=None)


@dataclass(frozen=True)
class Judge:
    """Tells how long claims bind, by all that one process knows at one moment.

    `now` is the database's clock, `span` the lease; `asked` is the boot clock before the heartbeats were read from the
    database, `boot` after all of that.
    """

    watch: ClaimsWatch
    now: datetime
    span: timedelta
    asked: BootMoment | None
    boot: BootMoment | None

    def find_bindings(
        self, claims: Mapping[str, Held], beats: Collection[Heartbeat] | None, *, is_all: bool = False
    ) -> Bindings:
        """Judge these claims, which are all that there are (`is_all`) or some, by all heartbeats; None: not looked at.

        One that was made in this boot is measured by the boot clock alone. A daemon's is over as well when its
        heartbeat has stayed away.
        """
        asked = None if self.asked is None else self.asked.elapsed
        elapsed = None if self.boot is None else self.boot.elapsed
        bonds = {
            beat.process: Bond(beat.beat_at, beat.binds_for, beat.binds_for, needs_sight=True)
            for beat in beats or ()
            if beat.process and beat.binds_for is not None
        }
        hearts = {} if beats is None else self.watch.beats.look(bonds, self.now, asked, elapsed)
        kept = {name: held.until for name, held in claims.items() if held.claimant is not None and held.until}
        longest = max(self.span, LONGEST_LEASE)
        leases = {
            name: Bond(until - self.span, self.span, longest, needs_sight=claims[name].process in hearts)
            for name, until in kept.items()
        }
        seen = self.watch.claims.look(leases, self.now, asked, elapsed, is_all=is_all)
        lefts = dict.fromkeys(claims, timedelta(0)) | seen
        late = set[str]()
        for name in kept:
            held, process = claims[name], claims[name].process
            lefts[name] = self._find_lease(held, lefts[name])
            if process in hearts:
                lefts[name] = min(lefts[name], hearts[process])
                bond = bonds[process]
                seems_left = min(hearts[process], bond.since + bond.span - self.now)
                late |= {name} if seems_left < bond.span / 2 else set()
        return Bindings(lefts, frozenset(late))

    def _find_lease(self, held: Held, left: timedelta) -> timedelta:
        passed = self.asked.since(held.made_at) if self.asked is not None else None
        return left if passed is None else self.span - passed


class SqlClaimsReader:
    """The port ClaimsReader. A claim whose process has ended does not count."""

    def __init__(
        self,
        connection: Connection,
        is_gone: Callable[[str], bool],
        boot: BootClock | None = None,
        watch: ClaimsWatch | None = None,
    ) -> None:
        self._connection = connection
        self._is_gone = is_gone
        self._boot = boot
        self._watch = watch or ClaimsWatch()

    def find_held(self, names: Collection[str], *, now: datetime, span: timedelta) -> frozenset[str]:
        """See the port."""
        found = dict[str, Held]()
        for share in make_shares(names):
            mine = (table.c.name.in_(share), table.c.claimed_by.is_not(None))
            found |= self._load(_LOAD_HELD.where(*mine))
        return self._judge(found, now, span).held

    def find_next_over(self, *, now: datetime, span: timedelta, name: str | None = None) -> timedelta | None:
        """See the port."""
        query = _LOAD_CLAIMED if name is None else _LOAD_CLAIMED.where(table.c.name == name)
        return self._judge(self._load(query), now, span, is_all=name is None).next_over

    def load_all(self) -> tuple[Claim, ...]:
        """See the port."""
        rows = self._connection.execute(_LOAD_CLAIMED)
        return tuple(Claim(row.name, row.claimed_by, row.epoch, row.claimed_until) for row in rows)

    def _load(self, query: Select[Any]) -> dict[str, Held]:
        rows = self._connection.execute(query)
        return {row.name: Held(row.claimed_by, row.claimed_until, row.claimed_at) for row in rows}

    def _judge(self, claims: Mapping[str, Held], now: datetime, span: timedelta, *, is_all: bool = False) -> Bindings:
        """Load the heartbeats, after the claims: whoever renews one now has a heartbeat that is no older than that."""
        beats, asked = None, self._read_boot()
        if asked is not None:
            self._watch.beats.inherit(partial(load_sights, self._connection, asked))
        if is_all or any(held.process for held in claims.values()):
            rows = self._connection.execute(_LOAD_BEATS)
            beats = [Heartbeat(row.holder, row.beat_at, row.beat_at, binds_for=row.binds_for) for row in rows]
        judge = Judge(self._watch, now, span, asked, self._read_boot())
        found = judge.find_bindings(claims, beats, is_all=is_all)
        gone = {name: timedelta(0) for name in found.held if self._is_gone(claims[name].claimant or "")}
        return replace(found, lefts={**found.lefts, **gone})

    def _read_boot(self) -> BootMoment | None:
        return None if self._boot is None else self._boot.read_boot()


class SqlClaims(SqlClaimsReader):
    """The port Claims."""

    def claim(self, name: str, claimant: str, *, now: datetime, span: timedelta) -> Claim:
        """See the port. NotManagedError when there is no record."""
        row = self._connection.execute(_LOAD_HELD.where(table.c.name == name)).one_or_none()
        if row is None:
            raise make_missing(name)
        held = Held(row.claimed_by, row.claimed_until, row.claimed_at)
        is_held = bool(self._judge({name: held}, now, span).held)
        if is_held or not self._take(name, row.epoch, held, Held(claimant, now + span, self._read_boot())):
            raise make_held(name, row.claimed_by or claimant, row.claimed_until or now + span)
        return Claim(name, claimant, row.epoch + 1, now + span, row.claimed_by)

    def _take(self, name: str, epoch: int, held: Held, taken: Held) -> bool:
        """Take it over from the one who was seen to hold it; False when anybody renewed or took it meanwhile."""
        self._connection.info.pop(FENCED, None)
        values = {"claimed_by": taken.claimant, "claimed_until": taken.until, "claimed_at": taken.made_at}
        values["next_at"] = LONG_AGO  # whatever it changes, and if it dies: a run looks at the record
        done = self._connection.execute(
            update(table)
            .where(
                table.c.name == name,
                table.c.epoch == epoch,
                table.c.claimed_by.is_not_distinct_from(held.claimant),
                table.c.claimed_until.is_not_distinct_from(held.until),
            )
            .values(epoch=table.c.epoch + 1, **values)
        )
        return done.rowcount > 0

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """See the port."""
        until = now + span
        values = {**_list_held(claim), "claimed_until": until, "claimed_at": self._read_boot()}
        record_id = self._connection.execute(_RENEW, values).scalar_one_or_none()
        if record_id is None:
            raise make_lost(claim)
        self._connection.info[FENCED] = _list_held(claim), record_id
        return Claim(claim.name, claim.claimant, claim.epoch, until)

    def keep_sights(self, *, now: datetime) -> None:
        """See the port."""
        at_work = {held.process for held in self._load(_LOAD_CLAIMED).values()}
        keep_sights(self._connection, self._read_boot(), self._watch.beats.find_late(at_work, now), now)

    def release(self, claim: Claim) -> bool:
        """See the port."""
        self._connection.info.pop(FENCED, None)
        values = {"claimed_by": None, "claimed_until": None, "claimed_at": None}
        return self._connection.execute(_CHANGE, {**_list_held(claim), **values}).rowcount > 0
