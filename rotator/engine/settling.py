"""Settling: a request whose answer was lost, until it can no longer take effect."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import (
    Rotation,
    RotationState,
)
from rotator.domain.urgency import bound_wait
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import Services


def is_settling(rotation: Rotation) -> bool:
    """Whether recovery has looked, and must wait before it can decide."""
    return rotation.state in (RotationState.MINTING, RotationState.STORING)


def is_settled(held: ClaimedPat) -> bool:
    """Whether the last unanswered request can no longer take effect: a write to the vault by every clock at hand."""
    now = held.services.clock.now()
    if held.rotation.state is RotationState.STORING:
        now = min(list_moments(held))
    if held.rotation.sent_at is not None and held.rotation.sent_at > now + MOST_SKEW:
        # A wrong clock dated it: from now on it gets its whole time once more.
        held.learn(sent_at=now)
    settled_at = make_settled_at(held.rotation, held.pat, held.services.timing.settle)
    return settled_at is None or now >= settled_at


def is_late_settled(rotation: Rotation, services: Services) -> bool:
    """Whether what the mint of a closed rotation made can no longer be written to the vault, whoever sent it.

    What a wrong clock has dated in the future is not waited for.
    """
    now, sent_at = services.clock.now(), rotation.sent_at
    return sent_at is None or sent_at > now + MOST_SKEW or now >= sent_at + services.timing.settle


def find_unsettled(held: ClaimedPat, authorization_id: str) -> timedelta:
    """Return for how long a write to the vault of that PAT's value, whose answer was lost, may still take effect."""
    now, settle = held.services.clock.now(), held.services.timing.settle
    rotations = held.load(lambda reading: reading.journal.load_for(held.pat.name))
    sent = (r.sent_at or r.created_at for r in rotations if r.tried_store and r.stored_id == authorization_id)
    return min(settle, max((moment + settle - now for moment in sent), default=timedelta(0)))


def make_settled_at(rotation: Rotation, pat: ManagedPat, settle: timedelta) -> datetime | None:
    """Return when the wait for the last unanswered request ends; None when nothing was sent.

    The wait for a mint is shorter when its ManagedPat has little time left: a mint that takes effect later is found
    by its fingerprint, and revoked. A late write to the vault would be read by consumers, so its wait is never cut.
    """
    if rotation.sent_at is None:
        return None
    if rotation.state is RotationState.MINTING:
        settle = bound_wait(settle, pat.valid_to - rotation.sent_at)
    return rotation.sent_at + settle
