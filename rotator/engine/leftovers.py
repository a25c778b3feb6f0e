"""PATs that live although no rotation needs them, and that may not be revoked without a person's word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.rotation import STRAY, Likeness, Rotation, RotationState, compare_mint
from rotator.engine.abandoning import revoke_clone
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing, ServerView
from rotator.engine.records import Known, load_known
from rotator.errors import RotatorError, UsageError
from rotator.ports.database import UnitOfWork


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


def load_leftovers(work: UnitOfWork, known: Known) -> tuple[Leftover, ...]:
    """Those among the PATs that the last look at the server found untracked; no server is asked."""
    pats: dict[tuple[str, str], list[Pat]] = {}
    for item in work.inventory.load_untracked():
        pats.setdefault((item.account, item.organization), []).append(item.pat)
    found = {
        leftover.pat.authorization_id: leftover
        for pair, listed in pats.items()
        for leftover in find_leftovers(known, *pair, tuple(listed))
    }
    return tuple(found.values())


def make_warning(leftover: Leftover) -> Failure:
    """What to say about it, and to do."""
    identifier, name = leftover.pat.authorization_id, leftover.rotation.name
    if leftover.kind is LeftoverKind.PARKED:
        message = f"PAT {identifier} was left behind by a rotation of {name} that failed"
    else:
        message = f"PAT {identifier} may be a lost mint for {name}, and may be a person's: there is no proof"
    return Failure(leftover.kind.value, message, f"If nobody uses it, revoke it: rotator recover --revoke {identifier}")


def revoke_leftover(run: RunContext, authorization_id: str) -> Leftover:
    """Revoke one leftover because a person says so.

    UsageError when it is none, or its ManagedPat is rotating or was forgotten. The error of an account or
    organization that cannot be looked at, when it is in none of the others.
    """
    view, known = ServerView(run), load_known(run)
    errors: list[RotatorError] = []
    for account, organization in sorted({(pat.account, pat.organization) for pat in known.pats}):
        try:
            listing = view.fetch_listing(account, organization)
        except RotatorError as error:
            errors.append(error)
            continue
        for leftover in find_leftovers(known, account, organization, listing.pats):
            if leftover.pat.authorization_id == authorization_id:
                _check_record(known, leftover)
                _revoke(run, listing, leftover)
                return leftover
    if errors:
        raise errors[0]
    raise UsageError(
        f"{authorization_id} is neither parked nor quarantined",
        fix="`rotator recover --dry-run` lists those that are; others are revoked in Azure DevOps.",
    )


def _check_record(known: Known, leftover: Leftover) -> None:
    name = leftover.rotation.name
    if name not in {pat.name for pat in known.pats}:
        raise UsageError(
            f"{leftover.pat.authorization_id} was left behind by {name}, which is managed no more",
            fix="Revoke it in Azure DevOps, or adopt it with `rotator inventory adopt`.",
        )


def _revoke(run: RunContext, listing: Listing, leftover: Leftover) -> None:
    with claimed(run, leftover.rotation.name) as held:
        if held.has_open_rotation:
            raise UsageError(
                f"{held.pat.name} has a rotation that is not finished ({held.rotation.state.value})",
                fix="Run `rotator once` until it is, then try again.",
            )
        revoke_stray(held, leftover.rotation, leftover.pat, "by hand")
    with run.services.database.begin() as work:
        remembered = work.inventory.load_untracked()
        pair = (listing.account, listing.organization)
        left = [item.pat for item in remembered if (item.account, item.organization) == pair]
        gone = leftover.pat.authorization_id
        work.inventory.save_untracked(*pair, tuple(pat for pat in left if pat.authorization_id != gone))


def revoke_stray(held: ClaimedPat, rotation: Rotation, pat: Pat, why: str) -> None:
    """Journal and carry out the revocation of a PAT that an attempt which is closed already left behind."""
    now = held.services.clock.now()
    stray = replace(
        rotation,
        id=held.services.entropy.make_id(),
        state=RotationState.ABANDONING,
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
        created_at=now,
        updated_at=now,
        tried_store=False,
        failure=Failure(STRAY, f"it was left behind by rotation {rotation.id} and revoked: {why}"),
    )
    held.begin(stray, event="revoke_started", authorization_id=pat.authorization_id, why=why)
    revoke_clone(held)
