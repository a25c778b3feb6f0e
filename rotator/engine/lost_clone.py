"""A clone of ours that somebody else revoked after the vault had it: the old PAT is current again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rotator.domain.events.rotations import CloneLost
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.rotation import RotationEnding, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.listing import CANNOT_WORK, ServerView
from rotator.engine.records import add_moved
from rotator.engine.requested import may_still_be_revoked
from rotator.errors import CloneLostError
from rotator.ports.database import UnitOfWork


def return_if_clone_lost(held: ClaimedPat, view: ServerView) -> None:
    """When our clone is proven gone, make the old PAT current again, if it lives, and raise CloneLostError.

    Call it when the clone's value did not authenticate. While it is not proven how either of the two stands, or our
    request to revoke the old PAT may still take effect, nothing is decided.
    """
    rotation = held.rotation
    if may_still_be_revoked(held):
        return
    place = (rotation.account, rotation.organization)
    if view.look_for(*place, rotation.new_authorization_id or "").is_gone:
        if not rotation.has_predecessor:
            raise _return_to_predecessor(held, None)
        try:
            old = view.look_for(*rotation.predecessor_place, rotation.predecessor_id)
        except CANNOT_WORK:
            if not rotation.is_move:
                raise
            # Nobody can work for it in that account.
            raise _return_to_predecessor(held, None, admit=partial(add_moved, rotation)) from None
        if old.pat is not None or old.is_gone:
            raise _return_to_predecessor(held, old.pat)


def _return_to_predecessor(
    held: ClaimedPat, old: Pat | None, *, admit: Callable[[UnitOfWork], None] | None = None
) -> CloneLostError:
    rotation = held.rotation
    back = "" if old is None else "`rotator recover` puts the old value back now, as the next run does. "
    error = CloneLostError(
        f"the clone {rotation.new_authorization_id} was revoked outside rotator",
        fix=f"{back}If that was intended, `rotator inventory pause {held.pat.name}` keeps rotator from making a new "
        "one.",
    )
    pat = held.pat
    if old is not None:
        pat = replace(
            pat,
            account=rotation.predecessor_place[0],
            authorization_id=old.authorization_id,
            display_name=old.display_name,
            scope=old.scope,
            valid_from=old.valid_from,
            valid_to=old.valid_to,
            taken_over=rotation.keeps_predecessor,
        )
    failure = Failure.of(error)
    lost, ending = CloneLost(code=error.code), RotationEnding.CLONE_LOST
    held.step(RotationState.FAILED, lost, pat=pat, admit=admit, failure=failure, ending=ending)
    return error
