"""Bring a rotation that was interrupted anywhere to a safe end, by the journal and by looking at the services."""

from __future__ import annotations

from rotator.domain.rotation import (
    RotationState,
)
from rotator.engine.abandoning import LOST_VALUE, abandon, leave_clone, revoke_clone
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunMode
from rotator.engine.listing import CANNOT_WORK, ServerView
from rotator.engine.minting import recover_mint
from rotator.engine.overlapping import confirm_stored
from rotator.engine.preflight import close_unminted
from rotator.engine.retiring import recover_retirement
from rotator.engine.storing import recover_store
from rotator.errors import (
    FailureKind,
    RotationError,
    VerificationError,
)


def recover(held: ClaimedPat, view: ServerView) -> None:
    """Continue the open rotation as far as is safe now. It may be interrupted anywhere as well, and can be repeated.

    Afterwards the rotation is closed, overlapping, or settling in `minting` or `storing` because a request
    may still take effect.
    """
    match held.rotation.state:
        case RotationState.PLANNED:
            _close_planned(held)
        case RotationState.MINTING:
            recover_mint(held, view)
        case RotationState.MINTED | RotationState.VERIFIED:
            abandon(held, LOST_VALUE)
        case RotationState.STORING:
            recover_store(held, view)
        case RotationState.STORED:
            confirm_stored(held, view, None)
        case RotationState.ABANDONING:
            _finish_abandoning(held, view)
        case RotationState.RETIRING:
            recover_retirement(held, view)


def _finish_abandoning(held: ClaimedPat, view: ServerView) -> None:
    """Revoke the clone. Where consumers read it, and nothing can be put back over it, wait for what they read before.

    If that is lost, or a person wants a new PAT now, the clone is left behind: it serves until that is stored.
    """
    try:
        revoke_clone(held)
    except VerificationError as error:
        if error.kind is not FailureKind.LATE_WRITE_KEPT:
            raise
        if held.run.mode is not RunMode.BY_HAND and not _is_old_lost(held, view):
            raise
        leave_clone(held)


def _is_old_lost(held: ClaimedPat, view: ServerView) -> bool:
    """Whether the old PAT is proven gone, or nobody can work for it any more in the account that it moves from."""
    rotation = held.rotation
    try:
        return view.look_for(*rotation.predecessor_place, rotation.predecessor_id).is_gone
    except CANNOT_WORK:
        if not rotation.is_move:
            raise
        return True


def _close_planned(held: ClaimedPat) -> None:
    """Nothing was sent, by this database. It may be behind the run that planned it: what it planned is looked for."""
    error = RotationError("the run ended before anything was sent", code="interrupted")
    close_unminted(held, error, sent_at=held.services.clock.now())
