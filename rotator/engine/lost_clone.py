"""A clone of ours that somebody else revoked after the vault had it: the old PAT is current again."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.rotations import CloneLost
from rotator.domain.managed_pat import Failure
from rotator.domain.rotation import RotationEnding, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.listing import Listing, ServerView
from rotator.errors import CloneLostError


def return_if_clone_lost(held: ClaimedPat, view: ServerView) -> None:
    """When a complete listing taken now lacks our clone, make the old PAT current again and raise CloneLostError.

    Call it when the clone's value did not authenticate: a listing alone would not be enough proof.
    """
    rotation = held.rotation
    listing = view.fetch_again(rotation.account, rotation.organization)
    if listing.find(rotation.new_authorization_id) is None:
        raise _return_to_predecessor(held, listing)


def _return_to_predecessor(held: ClaimedPat, listing: Listing) -> CloneLostError:
    rotation, old = held.rotation, listing.find(held.rotation.predecessor_id)
    error = CloneLostError(
        f"the clone {rotation.new_authorization_id} was revoked outside rotator",
        fix=f"Nothing to do if that was intended; `rotator inventory pause {held.pat.name}` keeps it from coming back.",
    )
    pat = held.pat
    if old is not None:
        pat = replace(pat, authorization_id=old.authorization_id, valid_from=old.valid_from, valid_to=old.valid_to)
    failure = Failure.of(error)
    held.step(
        RotationState.FAILED, CloneLost(code=error.code), pat=pat, failure=failure, ending=RotationEnding.CLONE_LOST
    )
    return error
