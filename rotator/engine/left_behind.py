"""PATs that a closed rotation left alive: reported, and revoked only when a person says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from rotator.domain.events.inventory import LeftBehindResolved
from rotator.domain.events.rotations import RevokeStarted
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.outside import find_id
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.engine.abandoning import revoke_clone
from rotator.engine.accounting import KeeperKind, Keepers
from rotator.engine.auditing import record
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing, ServerView
from rotator.engine.records import Known, load_known
from rotator.errors import RotatorError, UsageError
from rotator.ports.database import Reading

LEFT_BEHIND = "left_behind"
"""The code of the warning about such a PAT."""


class LeftBehindKind(StrEnum):
    """`failed_rotation`: its old or new PAT. `unproven_mint`: it looks like a lost mint of ours, without proof."""

    FAILED_ROTATION = "failed_rotation"
    UNPROVEN_MINT = "unproven_mint"


@dataclass(frozen=True)
class LeftBehind:
    """A PAT that was left behind, and the rotation that it seems to come from."""

    kind: LeftBehindKind
    pat: Pat
    rotation: Rotation


def find_left_behind(
    keepers: Keepers, account: str, organization: str, pats: tuple[Pat, ...]
) -> tuple[LeftBehind, ...]:
    """Return those that were left behind, among the listed PATs of one account and organization."""
    found = []
    for pat in pats:
        keeper = keepers.find(pat, account, organization)
        if keeper is None or keeper.rotation is None or keeper.is_open:
            continue
        if (keeper.rotation.account, keeper.rotation.organization) == (account, organization):
            is_failed = keeper.kind is KeeperKind.FAILED_ROTATION
            kind = LeftBehindKind.FAILED_ROTATION if is_failed else LeftBehindKind.UNPROVEN_MINT
            found.append(LeftBehind(kind, pat, keeper.rotation))
    return tuple(found)


def load_left_behind(reading: Reading, known: Known) -> tuple[LeftBehind, ...]:
    """Return those that were left behind, among the PATs that the last look at the server found untracked."""
    pats: dict[tuple[str, str], list[Pat]] = {}
    for item in reading.inventory.load_untracked():
        pats.setdefault((item.account, item.organization), []).append(item.pat)
    found = {
        left.pat.authorization_id: left
        for pair, listed in pats.items()
        for left in find_left_behind(known.keepers, *pair, tuple(listed))
    }
    return tuple(found.values())


def revoke_left_behind(run: RunContext, authorization_id: str) -> LeftBehind:
    """Revoke a PAT that was left behind, because a person says so.

    UsageError when it was not left behind, or its ManagedPat is rotating or was forgotten. When it is not found and an
    account or organization could not be looked at: the error of that one.
    """
    view, known = ServerView(run), load_known(run)
    authorization_id = find_id(authorization_id) or authorization_id
    errors: list[RotatorError] = []
    for account, organization in sorted({(pat.account, pat.organization) for pat in known.pats}):
        try:
            listing = view.fetch_listing(account, organization)
        except RotatorError as error:
            errors.append(error)
            continue
        for left in find_left_behind(known.keepers, account, organization, listing.pats):
            if left.pat.authorization_id == authorization_id:
                _check_record(known, left)
                _revoke(run, listing, left)
                return left
    if errors:
        raise errors[0]
    raise UsageError(
        f"{authorization_id} was not left behind by a rotation",
        fix="`rotator recover --dry-run` lists those that were; revoke any other in Azure DevOps.",
    )


def _check_record(known: Known, left: LeftBehind) -> None:
    name = left.rotation.name
    if name not in {pat.name for pat in known.pats}:
        raise UsageError(
            f"{left.pat.authorization_id} was left behind by {name}, which is no longer managed",
            fix="Revoke it in Azure DevOps, or adopt it with `rotator inventory adopt`.",
        )


def _revoke(run: RunContext, listing: Listing, left: LeftBehind) -> None:
    with claimed(run, left.rotation.name) as held:
        if held.has_open_rotation:
            raise UsageError(
                f"{held.pat.name} has an unfinished rotation ({held.rotation.state.value})",
                fix="Run `rotator once` until it is finished, then try again.",
            )
        revoke_left_pat(held, left.rotation, left.pat, "by hand")
    with run.services.database.begin() as work:
        remembered = work.inventory.load_untracked()
        pair = (listing.account, listing.organization)
        listed = [item.pat for item in remembered if (item.account, item.organization) == pair]
        gone = left.pat.authorization_id
        work.inventory.save_untracked(*pair, tuple(pat for pat in listed if pat.authorization_id != gone))
        record(work, run, gone, LeftBehindResolved(), run.services.clock.now())


def revoke_left_pat(held: ClaimedPat, rotation: Rotation, pat: Pat, why: str) -> None:
    """Journal and carry out the revocation of a PAT that a closed rotation left behind."""
    now = held.services.clock.now()
    clearing = replace(
        rotation,
        id=held.services.entropy.make_id(),
        state=RotationState.ABANDONING,
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
        created_at=now,
        updated_at=now,
        mint_begun_at=None,
        known_ids=(),
        tried_store=False,
        kind=RotationKind.REVOCATION,
        ending=None,
        failure=Failure(LEFT_BEHIND, f"it was left behind by rotation {rotation.id} and revoked: {why}"),
    )
    held.begin(clearing, RevokeStarted(authorization_id=pat.authorization_id, why=why))
    revoke_clone(held)
