"""Giving up a clone of ours that cannot be used: it is revoked, and the attempt never goes on."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.managed_pat import Failure
from rotator.domain.rotation import RotationChanges, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.restoring import restore_committed
from rotator.errors import RotatorError


def abandon(held: ClaimedPat, error: RotatorError, found: RotationChanges | None = None) -> None:
    """Decide to give the clone up, journal why and what was `found` of it, and revoke it."""
    changes: RotationChanges = {**(found or {}), "failure": Failure(error.code, error.message, error.fix)}
    doomed = changes.get("new_authorization_id", held.rotation.new_authorization_id)
    held.step(
        RotationState.ABANDONING,
        "revoke_started",
        Outcome.INTENDED,
        details={"authorization_id": doomed, "why": "abandoned", "code": error.code},
        **changes,
    )
    revoke_clone(held)


def revoke_clone(held: ClaimedPat) -> None:
    """Revoke the clone of a rotation that is `abandoning`, and close it. Repeating it is harmless."""
    rotation = held.rotation
    if rotation.tried_store:
        restore_committed(held)
    if rotation.new_authorization_id is not None:
        held.check_claim()
        held.engine.pats.revoke(rotation.account, rotation.organization, rotation.new_authorization_id)
    held.step(
        RotationState.ABANDONED,
        "pat_revoked",
        details={"authorization_id": rotation.new_authorization_id, "why": "abandoned"},
    )
