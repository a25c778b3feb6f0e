"""The server's PATs against the inventory: what changed outside, what took effect late, what nobody tracks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from rotator.domain.events.inventory import PatDrifted
from rotator.domain.managed_pat import Hold, ManagedPat, Pat
from rotator.domain.marker import strip_mark
from rotator.domain.next_step import Matter
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.plan import is_waiting
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.absence import check_listed, clear_if_seen
from rotator.engine.accounting import load_keepers
from rotator.engine.claiming import ClaimedPat
from rotator.engine.comparing import (
    UNMANAGED,
    Comparison,
    ScanEntry,
    ScanKind,
    compare,
    compare_record,
    find_lost_clones,
    has_drifted,
)
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.left_behind import LeftBehind, find_left_behind, load_left_behind
from rotator.engine.listing import Listing, ServerView
from rotator.engine.moments import find_earliest, read_clocks
from rotator.engine.noticing import Seen, find_unproven, notice, notice_places
from rotator.engine.organizations import remember_organizations
from rotator.engine.records import Known, known_in, load_known, load_late_places, load_listed
from rotator.engine.restoring import find_late_write
from rotator.engine.retiring import guard_revocation
from rotator.engine.revoking import Sightings, save_sightings, sort_pending
from rotator.engine.vaults import ask_vaults
from rotator.engine.waiting import keep_books
from rotator.errors import DatabaseError, RotatorError
from rotator.ports.database import Reading

T = TypeVar("T")
Pair = tuple[str, str]

GONE_HOLDS = (Hold.REVOKED_ELSEWHERE, Hold.REVOKED_BY_HAND, Hold.DATABASE_BEHIND)
"""If its record has one of these, it is no news that a PAT is not listed."""


@dataclass
class Reconciliation:
    """What a look at the server found. `changed` are the names of records that need work because of it.

    `late` are PATs of ours that appeared after their rotation was closed; `left_behind` are those that are revoked only
    when a person says so; `late_stores` are the names whose earlier write to the vault may still take effect; `alike`
    are untracked PATs that look like that of a record, by its name and by account: a mint that the database has lost
    may have made them, for another account if it was a move. `down` are the pairs of account and organization that
    could not be looked at. `revocations` is what was seen of those that are pending.
    """

    listings: dict[Pair, Listing] = field(default_factory=dict)
    comparisons: dict[Pair, Comparison] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    late: dict[str, list[tuple[Rotation, Pat]]] = field(default_factory=dict)
    left_behind: list[LeftBehind] = field(default_factory=list)
    late_stores: set[str] = field(default_factory=set)
    alike: dict[str, dict[str, list[Pat]]] = field(default_factory=dict)
    down: dict[Pair, RotatorError] = field(default_factory=dict)
    revocations: Sightings = field(default_factory=Sightings)

    @property
    def names(self) -> set[str]:
        """The records that there is something to do with because of what was found."""
        pending = {item.name for item in self.revocations.alive if not item.is_detached}
        return self.changed | self.late_stores | pending

    def find_alive(self, pat: ManagedPat) -> list[PendingRevocation]:
        """Return the pending revocations of a ManagedPat whose PATs live."""
        return [item for item in self.revocations.alive if item.belongs_to(pat)]


def reconcile(run: RunContext, view: ServerView) -> Reconciliation:
    """Do `look`, and store what it saw: what nobody tracks, and which conditions began and ended."""
    found = look(run, view)
    for pair, comparison in found.comparisons.items():
        unmanaged = (entry.pat for entry in comparison.entries if entry.kind in UNMANAGED)
        seen = tuple(pat for pat in unmanaged if pat is not None)
        still = _look_for_left(run, view, found, found.listings[pair])
        keep_books(run.services, partial(_save_untracked, run, found.listings[pair], seen, still))
    _forget_unlooked(run)
    save_sightings(run, found.revocations)
    late = {pat.authorization_id for items in found.late.values() for _, pat in items}
    with run.services.database.read() as reading:
        known = known_in(reading, run.services.clock.now())
        every = load_left_behind(reading, find_earliest(run, reading))
    left = tuple(item for item in every if item.needs_person and item.pat.authorization_id not in late)
    unreadable = {pair: listing.unreadable for pair, listing in found.listings.items()}
    now = run.services.clock.now()
    overdue = tuple(item for item in known.pending if not item.is_detached and item.is_overdue(now))
    pairs = frozenset(known.list_pairs(run.services.accounts, run.policy))
    ask_vaults(run)
    notice(run, Seen(found.down, unreadable, pairs, left, overdue))
    remember_organizations(run, unreadable, found.down, pairs)
    return found


def _forget_unlooked(run: RunContext) -> None:
    """Forget what was seen untracked where nobody looks any more, so that nobody knows.

    Not a PAT that was left behind: that nobody can look for it does not end it. It is over when it has expired.
    """

    def forget() -> None:
        with run.services.database.begin() as work:
            for pair, kept in _find_unlooked(run, work).items():
                work.inventory.save_untracked(*pair, kept)

    with run.services.database.read() as reading:
        if not _find_unlooked(run, reading):
            return
    keep_books(run.services, forget)


def _find_unlooked(run: RunContext, reading: Reading) -> dict[Pair, tuple[Pat, ...]]:
    """Return where something is to be forgotten, each place with the PATs that stay remembered there."""
    remembered: dict[Pair, list[Pat]] = {}
    for item in reading.inventory.load_untracked():
        remembered.setdefault((item.account, item.organization), []).append(item.pat)
    now = find_earliest(run, reading)
    known = known_in(reading, now)
    looked = {(item.account, item.organization) for item in known.pending}
    looked.update(known.list_pairs(run.services.accounts, run.policy))
    unlooked = {pair: tuple(pats) for pair, pats in remembered.items() if pair not in looked}
    ids = [pat.authorization_id for pats in unlooked.values() for pat in pats]
    keepers = load_keepers(reading, ids, now)
    left = {pair: find_left_behind(keepers, *pair, pats) for pair, pats in unlooked.items()}
    found = [item.pat for items in left.values() for item in items]
    over = _believe_expired(run, reading, [pat for pat in found if pat.as_ending().valid_to <= now])
    kept = {pair: tuple(item.pat for item in items if item.pat not in over) for pair, items in left.items()}
    return {pair: pats for pair, pats in kept.items() if len(pats) < len(unlooked[pair])}


def _believe_expired(run: RunContext, reading: Reading, expired: list[T]) -> list[T]:
    """Return what has expired by the host's clock; by one that is known to be wrong, nothing has."""
    return [] if expired and read_clocks(run, reading).is_wrong else expired


def _load_unlisted(reading: Reading, listing: Listing) -> tuple[Pat, ...]:
    """Load what is remembered as untracked where a listing was taken that lacks it."""
    pair = (listing.account, listing.organization)
    here = (item.pat for item in reading.inventory.load_untracked() if (item.account, item.organization) == pair)
    return tuple(pat for pat in here if listing.find(pat.authorization_id) is None)


def _look_for_left(run: RunContext, view: ServerView, found: Reconciliation, listing: Listing) -> frozenset[str]:
    """Look closer for what was left behind and is not listed. Return the ids of what is not proven gone.

    One whose revocation was requested is looked for with all those that are pending.
    """
    pair = (listing.account, listing.organization)
    with run.services.database.read() as reading:
        now, unlisted = find_earliest(run, reading), _load_unlisted(reading, listing)
        keepers = load_keepers(reading, [pat.authorization_id for pat in unlisted], now)
        left = [item.pat for item in find_left_behind(keepers, *pair, unlisted) if item.needs_person]
        over = _believe_expired(run, reading, [pat for pat in left if pat.as_ending().valid_to <= now])
    still = {pat.authorization_id for pat in left if pat not in over}
    for identifier in sorted(still):
        if keepers.find_pending(identifier) is not None:
            continue
        try:
            if view.look_for(*pair, identifier).is_proven:
                still.remove(identifier)
        except DatabaseError:
            raise
        except RotatorError as error:
            view.note_error(*pair, error)
            found.down[pair] = error
    return frozenset(still)


def _save_untracked(run: RunContext, listing: Listing, seen: tuple[Pat, ...], still: frozenset[str]) -> None:
    """Replace what is remembered as untracked; what `still` lives, as far as is known, or may be hidden stays."""
    with run.services.database.begin() as work:
        kept = tuple(
            pat
            for pat in _load_unlisted(work, listing)
            if pat.authorization_id in still or listing.may_hide(pat.authorization_id)
        )
        work.inventory.save_untracked(listing.account, listing.organization, (*seen, *kept))


def look(run: RunContext, view: ServerView) -> Reconciliation:
    """Look wherever something of ours is or may be, and at every account's sign-in."""
    known, found = load_known(run), Reconciliation()
    for account in run.services.accounts:
        try:
            with naming_bugs():
                view.refresh_account(account.name)
        except DatabaseError:
            raise
        except RotatorError as error:
            found.down[account.name, ""] = error
    now = run.services.clock.now()
    late = load_late_places(run)
    found.late_stores = {pat.name for pat in known.pats if pat.place in late}
    for pair in known.list_pairs(run.services.accounts, run.policy):
        if (pair[0], "") in found.down:
            continue
        try:
            with naming_bugs():
                listing = view.fetch_listing(*pair)
                comparison = compare(known, load_listed(run, listing), listing, now, run.services.marker_key)
        except DatabaseError:
            raise
        except RotatorError as error:
            view.note_error(*pair, error)
            found.down[pair] = error
            continue
        found.listings[pair], found.comparisons[pair] = listing, comparison
        _note(known, found.comparisons[pair], found, now)
        pending = [item for item in known.pending if (item.account, item.organization) == pair]
        try:
            sort_pending(run, view, listing, pending, found.revocations)
        except RotatorError as error:
            view.note_error(*pair, error)
            found.down[pair] = error
    found.revocations.gone += _find_expired_unlooked(run, known.pending)
    return found


def _find_expired_unlooked(run: RunContext, pending: Iterable[PendingRevocation]) -> list[PendingRevocation]:
    """Return those that have expired, of accounts that the settings no longer name: nobody can look for them."""
    now, accounts = run.services.clock.now(), {account.name for account in run.services.accounts}
    expired = [item for item in pending if item.account not in accounts and item.valid_to <= now]
    with run.services.database.read() as reading:
        return _believe_expired(run, reading, expired)


def look_at(run: RunContext, view: ServerView, matters: Sequence[Matter]) -> Reconciliation:
    """Look where these ManagedPats are, and at nothing else there: do they live, and the PATs that were to be revoked?

    Store what it saw of them. What nobody tracks, and what took effect late, is left to `reconcile`.
    """
    found, now, seen = Reconciliation(), run.services.clock.now(), set[Pair]()
    accounts = {account.name for account in run.services.accounts}
    pairs: dict[Pair, list[Matter]] = {}
    for matter in matters:
        pairs.setdefault((matter.pat.account, matter.pat.organization), []).append(matter)
        for item in matter.pending:
            if item.account in accounts:  # not the record's any more, after a move
                pairs.setdefault((item.account, item.organization), [])
    pending = {item.authorization_id: item for matter in matters for item in matter.pending}.values()
    for pair, mine in sorted(pairs.items(), key=_get_first):
        here = [item for item in pending if (item.account, item.organization) == pair]
        try:
            with naming_bugs():
                listing = found.listings[pair] = view.fetch_listing(*pair)
                _note_records(mine, listing, found, now)
                sort_pending(run, view, listing, here, found.revocations)
        except DatabaseError:
            raise
        except RotatorError as error:
            view.note_error(*pair, error)
            found.down[pair] = error
        if here:
            seen.add(pair)
    save_sightings(run, found.revocations)
    unproven = find_unproven(run, found.listings.keys() - seen)
    looked = {pair: listing.unreadable for pair, listing in found.listings.items() if pair not in unproven}
    notice_places(run, found.down, looked)
    remember_organizations(run, looked, found.down)
    return found


def _get_first(item: tuple[Pair, list[Matter]]) -> Pair:
    return item[0]


def _note_records(matters: Iterable[Matter], listing: Listing, found: Reconciliation, now: datetime) -> None:
    found.changed.update(find_lost_clones([m.rotation for m in matters if m.rotation is not None], listing, now))
    for matter in matters:
        if matter.rotation is None and matter.pat.has_pat:
            entry = compare_record(matter.pat, listing)
            if _needs_work(entry, matter.pat, now):
                found.changed.add(matter.pat.name)


def find_late_writes(run: RunContext, found: Reconciliation) -> tuple[str, ...]:
    """Return the names whose consumers read a late write now. A vault that cannot be read is noted in `found.down`."""
    late = []
    for pat in load_known(run).pats:
        if pat.name not in found.late_stores:
            continue
        try:
            with naming_bugs():
                is_late = find_late_write(run, pat) is not None
        except RotatorError as error:
            found.down.setdefault((pat.account, pat.organization), error)
        else:
            late += [pat.name] if is_late else []
    return tuple(late)


def _note(known: Known, comparison: Comparison, found: Reconciliation, now: datetime) -> None:
    """Note what of one listing needs work, and what only a person may decide."""
    rotating = {rotation.name for rotation in known.open_rotations}
    found.changed.update(comparison.lost_clones)
    for entry in comparison.entries:
        if entry.kind is ScanKind.LATE and entry.rotation is not None and entry.pat is not None:
            found.late.setdefault(entry.rotation.name, []).append((entry.rotation, entry.pat))
            found.changed.add(entry.rotation.name)
        elif entry.kind is ScanKind.UNTRACKED and entry.pat is not None:
            _note_alike(known, entry, entry.pat, found)
        elif entry.kind in (ScanKind.LEFT_BEHIND, ScanKind.PENDING_REVOCATION) and entry.left is not None:
            found.left_behind.append(entry.left)
        elif entry.record is not None and entry.record.name not in rotating and _needs_work(entry, entry.record, now):
            found.changed.add(entry.record.name)


def _note_alike(known: Known, entry: ScanEntry, pat: Pat, found: Reconciliation) -> None:
    name = strip_mark(pat.display_name)
    for record in known.pats:
        if record.organization == entry.organization and strip_mark(record.display_name) == name:
            found.alike.setdefault(record.name, {}).setdefault(entry.account, []).append(pat)
            found.changed.add(record.name)


def _needs_work(entry: ScanEntry, record: ManagedPat, now: datetime) -> bool:
    """Whether a record differs from the server in a way that was not recorded before, or no longer does."""
    if entry.kind is ScanKind.MISSING:
        is_known = record.hold in GONE_HOLDS
        return record.valid_to > now and not is_known and not (record.is_called_missing and is_waiting(record, now))
    return entry.kind is ScanKind.DRIFTED or record.is_called_missing or record.hold is Hold.REVOKED_BY_HAND


def apply_findings(held: ClaimedPat, view: ServerView, found: Reconciliation) -> None:
    """Act, under the claim, on what the look at the server found about this ManagedPat.

    A PAT that the listing lacks is looked for again, with the errors of `check_listed`.
    """
    listing = found.listings.get((held.pat.account, held.pat.organization))
    is_moving = held.pat.wanted_account is not None  # whatever became of its PAT, the next one is another account's
    if listing is None or held.pat.name not in found.changed or is_moving:
        return
    if held.has_open_rotation:
        if held.rotation.state is RotationState.OVERLAPPING:
            guard_revocation(held, view)
        return
    pat, current = held.pat, listing.find(held.pat.authorization_id)
    if not pat.has_pat:
        return
    if current is None and pat.valid_to > held.services.clock.now():
        current = check_listed(held, view)
    if current is None:
        return
    clear_if_seen(held)
    if has_drifted(pat, current):
        drifted = replace(
            held.pat,
            display_name=current.display_name,
            scope=current.scope,
            valid_from=current.valid_from,
            valid_to=current.valid_to,
            all_organizations=current.all_organizations,
        )
        held.save(
            drifted,
            PatDrifted(
                display_name=current.display_name,
                scope=current.scope,
                valid_to=current.valid_to,
                all_organizations=current.all_organizations,
            ),
        )
