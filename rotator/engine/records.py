"""What our own records account for, read at one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.account import Account
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.policy import Policy
from rotator.domain.rotation import Rotation
from rotator.engine.accounting import Keepers, list_kept_ids, load_keepers
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing
from rotator.engine.moments import find_earliest
from rotator.ports.database import Reading, UnitOfWork

LATE_STORE_SPAN = timedelta(days=7)
"""How long after a rotation was closed its unanswered write is looked for."""


@dataclass(frozen=True)
class Known:
    """The inventory, and the rotations that say where to look. What accounts for a PAT is asked by its id."""

    pats: tuple[ManagedPat, ...]
    open_rotations: tuple[Rotation, ...]
    unconfirmed: tuple[Rotation, ...]
    pending: tuple[PendingRevocation, ...] = ()
    left_in: frozenset[tuple[str, str]] = frozenset()
    """The accounts and organizations where a PAT may live that a closed rotation left behind."""

    def list_pairs(self, accounts: Iterable[Account], policy: Policy) -> list[tuple[str, str]]:
        """Where to look: wherever there are managed PATs, and where something pending can still be looked for.

        And wherever a mint was sent that may still take effect, a PAT may live that was left behind, or a rule may take
        PATs over, as long as the settings name the place.
        """
        places = {account.name: account.organizations for account in accounts}
        managed = {(pat.account, pat.organization) for pat in self.pats}
        pending = {(item.account, item.organization) for item in self.pending if item.account in places}
        owed = {(r.account, r.organization) for r in self.unconfirmed} | self.left_in
        found = {(name, place) for name, place in owed if place in places.get(name, ())}
        new = {(name, place) for name, named in places.items() for place in named if policy.adopts_in(name, place)}
        return sorted(managed | pending | found | new)


def load_known(run: RunContext) -> Known:
    """Load inventory and journal as they are now."""
    with run.services.database.read() as reading:
        return known_in(reading, run.services.clock.now())


def load_late_places(run: RunContext) -> frozenset[str]:
    """Return the secrets over which a write without an answer may still take effect.

    Its age is counted by the earliest clock at hand: a host that is years ahead must not take that for over.
    """
    with run.services.database.read() as reading:
        since = find_earliest(run, reading) - LATE_STORE_SPAN
        return frozenset(rotation.place for rotation in reading.journal.load_late_stores(since))


def load_listed(run: RunContext, listing: Listing) -> Keepers:
    """Load what accounts for the PATs of a listing, after it was taken."""
    with run.services.database.read() as reading:
        return load_keepers(reading, [pat.authorization_id for pat in listing.pats], find_earliest(run, reading))


def drop_untracked(work: UnitOfWork, authorization_ids: Collection[str]) -> None:
    """Forget that the last look found these PATs untracked: they are gone since."""
    kept: dict[tuple[str, str], list[Pat]] = {}
    dropped = set()
    for item in work.inventory.load_untracked():
        pair = (item.account, item.organization)
        if item.pat.authorization_id in authorization_ids:
            dropped.add(pair)
        else:
            kept.setdefault(pair, []).append(item.pat)
    for pair in sorted(dropped):
        work.inventory.save_untracked(*pair, tuple(kept.get(pair, ())))


def add_untracked(pair: tuple[str, str], pat: Pat, work: UnitOfWork) -> None:
    """Remember a PAT of an account and organization as if the last look had found it untracked."""
    here = [item.pat for item in work.inventory.load_untracked() if (item.account, item.organization) == pair]
    others = [found for found in here if found.authorization_id != pat.authorization_id]
    work.inventory.save_untracked(*pair, (*others, pat))


def add_moved(rotation: Rotation, work: UnitOfWork) -> None:
    """Remember the old PAT of a move that ends, unless a record names it: nobody may be able to look for it any more.

    It is as the rotation that made it knows it; one that was adopted as its clone was to be like it.
    """
    old = rotation.predecessor_id
    if not rotation.is_move or not old or work.inventory.load_by_ids([old]):
        return
    naming = work.journal.load_naming([old])
    made = next((found for found in naming if found.new_authorization_id == old), rotation)
    began = rotation.created_at if made is rotation or made.new_valid_from is None else made.new_valid_from
    pat = Pat(old, made.display_name, made.scope, (), began, rotation.predecessor_valid_to)
    add_untracked(rotation.predecessor_place, pat, work)


def known_in(reading: Reading, now: datetime) -> Known:
    """Load the inventory as this transaction sees it, and of the journal what is not over."""
    return Known(
        pats=reading.inventory.load_all(),
        open_rotations=reading.journal.load_open(),
        unconfirmed=reading.journal.load_unconfirmed(now),
        pending=reading.revocations.load(),
        left_in=_find_left_in(reading, now),
    )


def _find_left_in(reading: Reading, now: datetime) -> frozenset[tuple[str, str]]:
    """Where the last look saw a PAT that was left behind, or where one has not expired as far as the journal knows.

    What was seen alive is looked for until a look does not find it, whatever its expiry: a person may have moved that.
    """
    untracked = reading.inventory.load_untracked()
    ids = {item.pat.authorization_id for item in untracked}
    naming = [rotation for rotation in reading.journal.load_naming(ids) if rotation.leaves_pats]
    left = {found for rotation in naming for found in list_kept_ids(rotation)} & ids
    left -= {pat.authorization_id for pat in reading.inventory.load_by_ids(left)}
    seen = {(item.account, item.organization) for item in untracked if item.pat.authorization_id in left}
    leaving = reading.journal.load_leaving(now)
    return frozenset(seen | {place for rotation in leaving for place in _list_unexpired(rotation, now)})


def _list_unexpired(rotation: Rotation, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the account and organization of each PAT that a closed rotation left and that has not expired."""
    ends = {
        rotation.predecessor_id: rotation.predecessor_valid_to,
        rotation.new_authorization_id: rotation.new_valid_to,
    }
    for found in list_kept_ids(rotation):
        if (end := ends[found]) is not None and end > now:
            yield rotation.find_owner(found), rotation.organization
