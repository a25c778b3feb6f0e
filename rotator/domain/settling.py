"""Settling: a request whose answer was lost, until it can no longer take effect."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.urgency import bound_wait


def is_settling(rotation: Rotation) -> bool:
    """Whether recovery has looked, and must wait before it can decide."""
    return rotation.state in (RotationState.MINTING, RotationState.STORING)


def is_sent_ahead(rotation: Rotation, now: datetime) -> bool:
    """Whether a wrong clock dated its last request: further ahead than hosts' clocks may differ."""
    return rotation.sent_at is not None and rotation.sent_at > now + MOST_SKEW


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
