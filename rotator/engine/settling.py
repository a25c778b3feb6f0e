"""Settling: a request whose answer was lost, until it can no longer take effect."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.rotation import (
    Rotation,
    RotationState,
)
from rotator.engine.claiming import ClaimedPat


def is_settling(rotation: Rotation) -> bool:
    """Whether recovery has looked, and must wait before it can decide."""
    return rotation.state in (RotationState.MINTING, RotationState.STORING)


def is_settled(held: ClaimedPat) -> bool:
    """Whether the last unanswered request can no longer take effect."""
    settled_at = make_settled_at(held)
    return settled_at is None or held.services.clock.now() >= settled_at


def make_settled_at(held: ClaimedPat) -> datetime | None:
    """Return when the last unanswered request can no longer take effect; None when nothing was sent."""
    sent_at = held.rotation.sent_at
    return None if sent_at is None else sent_at + held.services.timing.settle
