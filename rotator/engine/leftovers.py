"""PATs that live although no rotation needs them, and that may not be revoked without a person's word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.rotation import Likeness, Rotation, RotationState, compare_mint
from rotator.engine.abandoning import revoke_clone
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import Engine
from rotator.engine.listing import Listing, ServerView
from rotator.engine.records import Known, load_known
from rotator.errors import UsageError


class LeftoverKind(StrEnum):
    """`parked`: a failed rotation's old or new PAT. `quarantined`: like a lost mint of ours, with no proof."""

    PARKED = "parked"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Leftover:
    """One such PAT, and the rotation that it seems to come from."""

    kind: LeftoverKind
    pat: Pat
    rotation: Rotation


def find_leftovers(known: Known, account: str, organization: str, pats: tuple[Pat, ...]) -> tuple[Leftover, ...]:
    """Those among the listed PATs of one account and organization."""
    found = []
    failed = [r for r in known.failed if (r.account, r.organization) == (account, organization)]
    parked = {r.predecessor_id: r for r in failed}
    parked |= {r.new_authorization_id: r for r in failed if r.new_authorization_id is not None}
    lost = [r for r in known.unconfirmed if (r.account, r.organization) == (account, organization)]
    for pat in pats:
        if pat.authorization_id in known.tracked_ids:
            continue
        rotation = parked.get(pat.authorization_id)
        if rotation is not None:
            found.append(Leftover(LeftoverKind.PARKED, pat, rotation))
        elif pat.authorization_id not in known.minted_ids:
            near = next((r for r in lost if compare_mint(pat, r, None) is not Likeness.FOREIGN), None)
            if near is not None:
                found.append(Leftover(LeftoverKind.QUARANTINED, pat, near))
    return tuple(found)


def revoke_leftover(engine: Engine, authorization_id: str) -> Leftover:
    """Revoke one leftover because a person says so. UsageError when it is none, or its ManagedPat is rotating."""
    view, known = ServerView(engine), load_known(engine)
    for account, organization in sorted({(pat.account, pat.organization) for pat in known.pats}):
        listing = view.fetch_listing(account, organization)
        for leftover in find_leftovers(known, account, organization, listing.pats):
            if leftover.pat.authorization_id == authorization_id:
                _revoke(engine, view, listing, leftover)
                return leftover
    raise UsageError(
        f"{authorization_id} is neither parked nor quarantined",
        fix="`rotator recover --dry-run` lists those that are; others are revoked in Azure DevOps.",
    )


def _revoke(engine: Engine, view: ServerView, listing: Listing, leftover: Leftover) -> None:
    view.check_account(listing.account)
    with claimed(engine, leftover.rotation.name) as held:
        if held.has_open_rotation:
            raise UsageError(
                f"{held.pat.name} has a rotation that is not finished ({held.rotation.state.value})",
                fix="Run `rotator once` until it is, then try again.",
            )
        revoke_stray(held, leftover.rotation, leftover.pat, "by hand")


def revoke_stray(held: ClaimedPat, rotation: Rotation, pat: Pat, why: str) -> None:
    """Journal and carry out the revocation of a PAT that an attempt which is closed already left behind."""
    now = held.engine.clock.now()
    stray = replace(
        rotation,
        id=held.engine.entropy.make_id(),
        state=RotationState.ABANDONING,
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
        created_at=now,
        updated_at=now,
        tried_store=False,
        failure=Failure("stray", f"it was left behind by rotation {rotation.id} and revoked: {why}"),
    )
    held.begin(stray, event="revoke_started", authorization_id=pat.authorization_id, why=why)
    revoke_clone(held)
