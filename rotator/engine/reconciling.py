"""The server's PATs against the inventory: what changed outside, what landed late, what nobody tracks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from rotator.domain.events.inventory import PatDrifted
from rotator.domain.managed_pat import Hold, ManagedPat, Pat
from rotator.domain.rotation import Likeness, Rotation, RotationEnding, RotationState, compare_mint
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.engine.left_behind import LeftBehind, find_left_behind
from rotator.engine.listing import Listing, ServerView
from rotator.engine.minting import make_gone_error
from rotator.engine.provenance import check_not_behind
from rotator.engine.records import Known, load_known
from rotator.engine.restoring import find_late_write
from rotator.engine.retiring import guard_revocation
from rotator.errors import RotatorError

Pair = tuple[str, str]


@dataclass
class Reconciliation:
    """What a look at the server found. `changed` are the names of records that need work because of it.

    `late` are PATs of ours that appeared after their attempt was given up; `left_behind` are those that only a person
    may have revoked; `late_stores` are the names of which an earlier write to the vault may still land. `down` are
    the pairs of account and organization that could not be looked at.
    """

    listings: dict[Pair, Listing] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    late: dict[str, list[tuple[Rotation, Pat]]] = field(default_factory=dict)
    left_behind: list[LeftBehind] = field(default_factory=list)
    late_stores: set[str] = field(default_factory=set)
    down: dict[Pair, RotatorError] = field(default_factory=dict)


def reconcile(run: RunContext, view: ServerView) -> Reconciliation:
    """`look`, and remember for `status` what nobody tracks."""
    found = look(run, view)
    known = load_known(run)
    for pair, listing in found.listings.items():
        with run.services.database.begin() as work:
            work.inventory.save_untracked(*pair, find_untracked(known, listing))
    return found


def look(run: RunContext, view: ServerView) -> Reconciliation:
    """Look at every account and organization that has managed PATs, and at every account's sign-in."""
    known, found = load_known(run), Reconciliation()
    for account in run.services.accounts:
        try:
            view.refresh_account(account.name)
        except RotatorError as error:
            found.down[account.name, ""] = error
    now = run.services.clock.now()
    found.late_stores = {r.name for r in known.late_stores} & {pat.name for pat in known.pats}
    for pair in sorted({(pat.account, pat.organization) for pat in known.pats}):
        if (pair[0], "") in found.down:
            continue
        try:
            listing = view.fetch_listing(*pair)
        except RotatorError as error:
            view.note_error(pair[0], error)
            found.down[pair] = error
            continue
        found.listings[pair] = listing
        _compare(known, listing, found, now)
    return found


def find_late_writes(run: RunContext, found: Reconciliation) -> tuple[str, ...]:
    """The names whose consumers read a late write now. A vault that cannot be read is noted in `found.down`."""
    late = []
    for pat in load_known(run).pats:
        if pat.name not in found.late_stores:
            continue
        try:
            if find_late_write(run, pat) is not None:
                late.append(pat.name)
        except RotatorError as error:
            found.down.setdefault((pat.account, pat.organization), error)
    return tuple(late)


def find_untracked(known: Known, listing: Listing) -> tuple[Pat, ...]:
    """The listed PATs that none of our records accounts for."""
    tracked = known.tracked_ids
    return tuple(pat for pat in listing.pats if pat.authorization_id not in tracked)


def has_drifted(pat: ManagedPat, current: Pat) -> bool:
    """Whether the server describes a PAT otherwise than the inventory."""
    return (pat.display_name, pat.scopes, pat.valid_to) != (
        current.display_name,
        current.scopes,
        current.valid_to,
    )


def _compare(known: Known, listing: Listing, found: Reconciliation, now: datetime) -> None:
    pair = (listing.account, listing.organization)
    listed = {pat.authorization_id: pat for pat in listing.pats}
    rotating = {rotation.name for rotation in known.open_rotations}
    found.changed.update(_find_lost_clones(known, listing, now))
    for pat in known.pats:
        if (pat.account, pat.organization) != pair or pat.name in rotating:
            continue
        current = listed.get(pat.authorization_id)
        if current is None:
            told = pat.hold in (Hold.REVOKED_ELSEWHERE, Hold.DATABASE_BEHIND)
            if pat.valid_to > now and not told:
                found.changed.add(pat.name)
        elif has_drifted(pat, current):
            found.changed.add(pat.name)
    accounted = known.tracked_ids | known.minted_ids
    for rotation in known.unconfirmed:
        if (rotation.account, rotation.organization) != pair:
            continue
        ours = [
            current
            for current in listing.pats
            if current.authorization_id not in accounted
            and compare_mint(current, rotation, listing.identity.organization_id) is Likeness.OURS
        ]
        # One mint makes one PAT: where two look like it, or once did, one of them is a person's.
        was_ambiguous = rotation.ending is RotationEnding.MINT_AMBIGUOUS
        if len(ours) == 1 and not was_ambiguous:
            found.late.setdefault(rotation.name, []).append((rotation, ours[0]))
            found.changed.add(rotation.name)
    landed = {pat.authorization_id for late in found.late.values() for _, pat in late}
    left_behind = find_left_behind(known, *pair, listing.pats)
    found.left_behind += [item for item in left_behind if item.pat.authorization_id not in landed]


def _find_lost_clones(known: Known, listing: Listing, now: datetime) -> list[str]:
    """The ManagedPats whose clone is handed out by the vault and not listed as active any more."""
    return [
        rotation.name
        for rotation in known.open_rotations
        if (rotation.account, rotation.organization) == (listing.account, listing.organization)
        and rotation.state is RotationState.OVERLAPPING
        and (rotation.new_valid_to is None or rotation.new_valid_to > now)
        and listing.find(rotation.new_authorization_id or "") is None
    ]


def apply_findings(held: ClaimedPat, view: ServerView, found: Reconciliation, *, by_hand: bool) -> None:
    """Act, under the claim, on what the look at the server found about this ManagedPat.

    PlanRefusedError when it was revoked outside, unless a person asks for a new one; `database_behind` when the
    vault says that we rotated it ourselves.
    """
    listing = found.listings.get((held.pat.account, held.pat.organization))
    if listing is None or held.pat.name not in found.changed:
        return
    if held.has_open_rotation:
        if held.rotation.state is RotationState.OVERLAPPING:
            guard_revocation(held, view)
        return
    pat, current = held.pat, listing.find(held.pat.authorization_id)
    if current is None:
        if pat.valid_to > held.services.clock.now() and not by_hand:
            check_not_behind(held)
            raise make_gone_error(pat.name)
    elif has_drifted(pat, current):
        drifted = replace(
            pat,
            display_name=current.display_name,
            scope=current.scope,
            valid_from=current.valid_from,
            valid_to=current.valid_to,
        )
        held.save(
            drifted,
            PatDrifted(display_name=current.display_name, scope=current.scope, valid_to=current.valid_to),
        )
