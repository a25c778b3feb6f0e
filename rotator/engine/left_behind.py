"""PATs that a closed rotation left alive: reported, and revoked only when a person says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rotator.domain.events.inventory import LeftBehindResolved
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.outside import find_id
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.engine.abandoning import revoke_clone
from rotator.engine.accounting import KeeperKind, Keepers, find_other_keeper, load_keepers, refuse_kept
from rotator.engine.auditing import record
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.listing import ServerView
from rotator.engine.overlapping import make_unfinished_error
from rotator.engine.records import load_known, load_listed
from rotator.engine.restoring import restore_committed
from rotator.engine.revoking import confirm_requested
from rotator.errors import RotationError, RotatorError, UsageError
from rotator.ports.database import Reading

LEFT_BEHIND = "left_behind"
"""The code of the warning about such a PAT."""


class LeftBehindKind(StrEnum):
    """Why a PAT lives on.

    `failed_rotation`: it is the old or the new one of that. `kept_predecessor`: it was replaced and let live, because a
    rule had taken it over, or lists lacked it and nothing proved that it was gone. `unproven_mint`: it looks like a
    lost mint of ours, without proof. `pending_revocation`: it was to be revoked, and that had no effect.
    """

    FAILED_ROTATION = "failed_rotation"
    KEPT_PREDECESSOR = "kept_predecessor"
    UNPROVEN_MINT = "unproven_mint"
    PENDING_REVOCATION = "pending_revocation"


_KINDS = {
    KeeperKind.FAILED_ROTATION: LeftBehindKind.FAILED_ROTATION,
    KeeperKind.COMPLETED_ROTATION: LeftBehindKind.KEPT_PREDECESSOR,
}


@dataclass(frozen=True)
class LeftBehind:
    """A PAT that was left behind by the ManagedPat called `name`, and the `rotation` that it seems to come from.

    `needs_person`: no run will revoke it by itself. `rotation_id` is None where a person revoked it by hand.
    `is_managed`: the inventory still has that record, so that it can be revoked on a person's word.
    """

    kind: LeftBehindKind
    pat: Pat
    name: str
    rotation_id: str | None
    rotation: Rotation | None = None
    needs_person: bool = True
    is_managed: bool = True


def find_left_behind(
    keepers: Keepers, account: str, organization: str, pats: tuple[Pat, ...]
) -> tuple[LeftBehind, ...]:
    """Return those that were left behind, among the listed PATs of one account and organization."""
    found = []
    for pat in pats:
        pending = keepers.find_pending(pat.authorization_id)
        if pending is not None and (pending.account, pending.organization) == (account, organization):
            kind = LeftBehindKind.PENDING_REVOCATION
            is_detached = pending.is_detached
            left = LeftBehind(kind, pat, pending.name, pending.rotation_id, None, is_detached, not is_detached)
            keeper = keepers.find_by_id(pat.authorization_id)
            if keeper is None or not keeper.is_in_use:
                found.append(left)
            continue
        keeper = keepers.find(pat, account, organization)
        if keeper is None or keeper.rotation is None or keeper.is_open:
            continue
        owner = keeper.rotation.find_owner(pat.authorization_id)
        if (owner, keeper.rotation.organization) == (account, organization):
            kind = _KINDS.get(keeper.kind, LeftBehindKind.UNPROVEN_MINT)
            left = LeftBehind(kind, pat, keeper.name, keeper.rotation.id, keeper.rotation)
            found.append(replace(left, is_managed=keeper.is_managed))
    return tuple(found)


def load_left_behind(reading: Reading, now: datetime) -> tuple[LeftBehind, ...]:
    """Return those that were left behind, among the PATs that the last look at the server found untracked."""
    pats: dict[tuple[str, str], list[Pat]] = {}
    for item in reading.inventory.load_untracked():
        pats.setdefault((item.account, item.organization), []).append(item.pat)
    keepers = load_keepers(reading, [pat.authorization_id for listed in pats.values() for pat in listed], now)
    found = {
        left.pat.authorization_id: left
        for pair, listed in pats.items()
        for left in find_left_behind(keepers, *pair, tuple(listed))
    }
    return tuple(found.values())


def revoke_left_behind(run: RunContext, authorization_id: str) -> LeftBehind:
    """Revoke a PAT that was left behind, because a person says so.

    UsageError when it was not left behind, or its ManagedPat is rotating or was forgotten. When it is not found and an
    account or organization could not be looked at: the error of that one.
    """
    view, known, began = ServerView(run), load_known(run), run.services.clock.now()
    authorization_id = find_id(authorization_id) or authorization_id
    errors: list[RotatorError] = []
    for account, organization in known.list_pairs(run.services.accounts, run.policy):
        try:
            listing = view.fetch_listing(account, organization)
        except RotatorError as error:
            errors.append(error)
            continue
        for left in find_left_behind(load_listed(run, listing), account, organization, listing.pats):
            if left.pat.authorization_id == authorization_id:
                _check_record(left)
                _revoke(run, left)
                confirm_requested(run, view, began)
                with run.services.database.begin() as work:
                    record(work, run, authorization_id, LeftBehindResolved(), run.services.clock.now())
                return left
    if errors:
        raise errors[0]
    with run.services.database.read() as reading:
        keeper = find_other_keeper(reading, authorization_id, "")
    if keeper is not None and keeper.is_in_use:
        raise refuse_kept(authorization_id, keeper)
    raise UsageError(
        f"{authorization_id} was not left behind by a rotation",
        fix="`rotator recover --dry-run` lists those that were; revoke any other in Azure DevOps.",
    )


def _check_record(left: LeftBehind) -> None:
    identifier, name = left.pat.authorization_id, left.name
    if not left.is_managed:
        raise UsageError(
            f"{identifier} was left behind by {name}, which is no longer managed",
            fix="Revoke it in Azure DevOps, or adopt it with `rotator inventory adopt`.",
        )
    if left.kind is LeftBehindKind.PENDING_REVOCATION:
        raise UsageError(
            f"the revocation of {identifier} was requested already and is not confirmed",
            code="revocation_pending",
            fix=f"`rotator once` asks again. If it lasts, revoke {identifier} in Azure DevOps.",
        )


def _revoke(run: RunContext, left: LeftBehind) -> None:
    with claimed(run, left.name) as held:
        if held.has_open_rotation:
            raise make_unfinished_error(held.rotation)
        if left.rotation is None:
            raise RotationError("a PAT was left behind without a rotation", code="internal")
        revoke_left_pat(held, left.rotation, left.pat, RevocationKind.BY_HAND)


def revoke_left_pat(held: ClaimedPat, rotation: Rotation, pat: Pat, why: RevocationKind) -> None:
    """Journal and carry out the revocation of a PAT that a closed rotation left behind."""
    now, owner = held.services.clock.now(), rotation.find_owner(pat.authorization_id)
    clearing = replace(
        rotation,
        id=held.services.entropy.make_id(),
        account=owner,
        predecessor_account=None if rotation.predecessor_place[0] == owner else rotation.predecessor_place[0],
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
    held.begin(clearing, RevokeStarted(authorization_id=pat.authorization_id, why=why.value))
    if rotation.tried_store:
        restore_committed(held)  # its write may have taken effect by now
    revoke_clone(held)
