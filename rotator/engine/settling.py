"""Whether what was asked for, and not answered, can no longer take effect."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.settling import is_sent_ahead, make_settled_at
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import Services
from rotator.ports.database import Reading


def is_settled(held: ClaimedPat) -> bool:
    """Whether the last unanswered request can no longer take effect: a write to the vault by every clock at hand."""
    now = held.services.clock.now()
    if held.rotation.state is RotationState.STORING:
        now = min(list_moments(held))
    if is_sent_ahead(held.rotation, now):
        # A wrong clock dated it: from now on it gets its whole time once more.
        held.learn(sent_at=now)
    settled_at = make_settled_at(held.rotation, held.pat, held.services.timing.settle)
    return settled_at is None or now >= settled_at


def is_late_settled(rotation: Rotation, services: Services) -> bool:
    """Whether what the mint of a closed rotation made can no longer be written to the vault, whoever sent it.

    What a wrong clock has dated in the future is not waited for.
    """
    now, sent_at = services.clock.now(), rotation.sent_at
    return sent_at is None or is_sent_ahead(rotation, now) or now >= sent_at + services.timing.settle


def find_unsettled(held: ClaimedPat, authorization_id: str, reading: Reading) -> timedelta:
    """Return for how long a write to the vault of that PAT's value, whose answer was lost, may still take effect."""
    now, settle = held.services.clock.now(), held.services.timing.settle
    rotations = reading.journal.load_for(held.pat.name)
    sent = (r.sent_at or r.created_at for r in rotations if r.tried_store and r.stored_id == authorization_id)
    return min(settle, max((moment + settle - now for moment in sent), default=timedelta(0)))
