"""Bringing a rotation that was interrupted anywhere to a safe end, from the journal and by looking."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.events.rotations import RotationFailed, UnprovenMintFound
from rotator.domain.managed_pat import Failure
from rotator.domain.rotation import Likeness, Rotation, RotationEnding, RotationState, compare_mint
from rotator.engine.abandoning import abandon, revoke_clone
from rotator.engine.claiming import ClaimedPat
from rotator.engine.freezing import freeze
from rotator.engine.listing import Listing, ServerView
from rotator.engine.minting import close_unminted
from rotator.engine.provenance import find_behind
from rotator.engine.retiring import complete, retire_predecessor
from rotator.engine.storing import confirm_stored, find_version, journal_stored
from rotator.errors import RotationError

LOST_VALUE = RotationError(
    "the run that minted the clone ended before the value was stored; the value is lost",
    code="value_lost",
    fix="Nothing to do: the clone is revoked and a new one minted.",
)


def recover(held: ClaimedPat, view: ServerView) -> None:
    """Move the open rotation on as far as is safe now. Repeating it is harmless, and it may die anywhere too.

    Afterwards the rotation is closed, overlapping, or settling in `minting` or `storing` because a request
    may still take effect.
    """
    match held.rotation.state:
        case RotationState.PLANNED:
            close_unminted(held, RotationError("the run ended before anything was sent", code="interrupted"))
        case RotationState.MINTING:
            _recover_mint(held, view)
        case RotationState.MINTED | RotationState.VERIFIED:
            abandon(held, LOST_VALUE)
        case RotationState.STORING:
            _recover_store(held, view)
        case RotationState.STORED:
            confirm_stored(held, view, None)
        case RotationState.ABANDONING:
            revoke_clone(held)
        case RotationState.RETIRING:
            _recover_retire(held, view)
        case _:
            pass


def is_settled(held: ClaimedPat) -> bool:
    """Whether the last unanswered request can no longer take effect."""
    settled_at = make_settled_at(held)
    return settled_at is None or held.services.clock.now() >= settled_at


def make_settled_at(held: ClaimedPat) -> datetime | None:
    """When the last unanswered request can no longer take effect; None when nothing was sent."""
    sent_at = held.rotation.sent_at
    return None if sent_at is None else sent_at + held.services.timing.settle


def find_mints(held: ClaimedPat, listing: Listing, likeness: Likeness) -> list[str]:
    """The ids in a listing that are as like this rotation's mint as asked, and nobody else's."""
    with held.services.database.read() as reading:
        known = reading.journal.load_minted_ids() | {pat.authorization_id for pat in reading.inventory.load_all()}
    organization_id = listing.identity.organization_id
    return [
        pat.authorization_id
        for pat in listing.pats
        if pat.authorization_id not in known and compare_mint(pat, held.rotation, organization_id) is likeness
    ]


def _recover_mint(held: ClaimedPat, view: ServerView) -> None:
    """Nobody knows whether the POST was carried out: look, and only two complete listings prove that it was not."""
    rotation, run = held.rotation, held.run
    listing = view.fetch_again(rotation.account, rotation.organization)
    found = find_mints(held, listing, Likeness.OURS)
    if not found and is_settled(held):
        run.services.stop.wait(run.services.timing.second_look.total_seconds())
        listing = view.fetch_again(rotation.account, rotation.organization)
        found = find_mints(held, listing, Likeness.OURS)
    if len(found) == 1:
        _adopt_mint(held, listing, found[0])
    elif found:
        error = RotationError(
            f"{len(found)} PATs look like our lost mint: {', '.join(found)}; none was revoked",
            code=RotationEnding.MINT_AMBIGUOUS,
            fix="Revoke those that nobody uses in Azure DevOps.",
        )
        held.step(
            RotationState.FAILED,
            RotationFailed(code=error.code, message=error.message),
            failure=Failure.of(error),
            ending=RotationEnding.MINT_AMBIGUOUS,
        )
        raise error
    elif is_settled(held):
        _close_as_not_created(held, listing)
    else:
        held.learn(looked_at=run.services.clock.now())


def _adopt_mint(held: ClaimedPat, listing: Listing, authorization_id: str) -> None:
    pat = listing.find(authorization_id)
    if pat is None:
        raise RotationError("a PAT left the listing it was found in", code="internal")
    abandon(
        held,
        LOST_VALUE,
        {
            "new_authorization_id": authorization_id,
            "new_valid_from": pat.valid_from,
            "new_valid_to": pat.valid_to,
        },
    )


def _close_as_not_created(held: ClaimedPat, listing: Listing) -> None:
    near = find_mints(held, listing, Likeness.NEAR)
    if near:
        held.record(UnprovenMintFound(authorization_ids=", ".join(near)))
    error = RotationError("the mint was not answered and the server does not list its PAT", code="mint_not_created")
    close_unminted(held, error)


def _recover_store(held: ClaimedPat, view: ServerView) -> None:
    version = find_version(held)
    if version is not None:
        journal_stored(held, version, may_land_again=True)
        confirm_stored(held, view, None)
    elif is_settled(held):
        abandon(held, LOST_VALUE)


def _recover_retire(held: ClaimedPat, view: ServerView) -> None:
    rotation = held.rotation
    listing = view.fetch_again(rotation.account, rotation.organization)
    if listing.find(rotation.predecessor_id) is None:
        latest = held.services.secrets.fetch_latest(held.location)
        behind = find_behind(held, latest.version if latest is not None else None)
        if behind is not None:
            raise freeze(held, behind)
        complete(held)
    else:
        retire_predecessor(held, view)


def is_settling(rotation: Rotation) -> bool:
    """Whether recovery has looked and has to wait before it may decide."""
    return rotation.state in (RotationState.MINTING, RotationState.STORING)
