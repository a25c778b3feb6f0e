"""Clones that were minted and given up: reported early, with a limit on more attempts that never lets a PAT expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.backoff import make_backoff
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.rotations import ClonesAbandoned
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.domain.urgency import FIRST_RETRY, LONGEST_RETRY, bound_wait
from rotator.domain.words import say_moment
from rotator.engine.claiming import ClaimedPat
from rotator.errors import FailureKind, RotationError

MAX_LOST_PER_DAY = 3
"""After this many unexplained losses, the next attempt waits until the first of them is a day old."""
TOLD_LOST_PER_DAY = 2
"""From this many on, each further one is reported."""
_DAY = timedelta(days=1)


def is_explained(rotation: Rotation) -> bool:
    """Whether the journal says why a clone was given up: its run ended, the vault refused it, or its life was short."""
    failure = rotation.failure
    return rotation.tried_store or (failure is not None and failure.kind is FailureKind.EXPLAINED_LOSS)


def check_attempts(held: ClaimedPat) -> None:
    """Raise RotationError while the losses of the last day say that the next attempt must wait.

    Near the expiry it hardly waits: see `bound_wait`.
    """
    now = held.services.clock.now()
    lost = _load_lost(held, now)
    until = find_pause(lost, held.pat.valid_to)
    if until is not None and now < until:
        raise RotationError(
            f"{len(lost)} clones were minted and given up within a day; the next attempt is at {say_moment(until)}",
            code="too_many_attempts",
            fix=f"See why with `rotator audit list --name {held.pat.name}`, then `rotator rotate {held.pat.name}`.",
        )


def find_pause(lost: Sequence[Rotation], valid_to: datetime) -> datetime | None:
    """Return when the next attempt may begin after these losses, the newest first; None when it may begin immediately.

    Losses that are explained only back off, so that a process that dies again and again does not mint without end.
    """
    unexplained = [rotation for rotation in lost if not is_explained(rotation)]
    if len(unexplained) >= MAX_LOST_PER_DAY:
        lost_at = unexplained[0].updated_at
        wait = unexplained[MAX_LOST_PER_DAY - 1].created_at + _DAY - lost_at
    elif len(lost) > MAX_LOST_PER_DAY:
        lost_at = lost[0].updated_at
        wait = make_backoff(len(lost) - MAX_LOST_PER_DAY, first=FIRST_RETRY, longest=LONGEST_RETRY)
    else:
        return None
    return lost_at + bound_wait(wait, valid_to - lost_at)


def make_alert(held: ClaimedPat) -> tuple[ClonesAbandoned, ...]:
    """Return the event that tells a person of the clone that is being given up; none while losses are few."""
    rotation = held.rotation
    if not _is_loss(rotation) or is_explained(rotation):
        return ()
    others = [r for r in _load_lost(held, held.services.clock.now()) if r.id != rotation.id and not is_explained(r)]
    if len(others) + 1 < TOLD_LOST_PER_DAY:
        return ()
    code = rotation.failure.code if rotation.failure is not None else ""
    return (ClonesAbandoned(count=len(others) + 1, code=code),)


def _load_lost(held: ClaimedPat, now: datetime) -> list[Rotation]:
    """Return the rotations of the last day whose clone was given up, the newest first.

    One whose end another clock dated ahead of the host's ended when it began: it must not hold up attempts until then.
    """
    name = held.pat.name
    rotations = held.load(lambda reading: reading.journal.load_for(name, since=now - _DAY))
    lost = [r for r in rotations if r.state is RotationState.ABANDONED and _is_loss(r) and r.created_at <= now]
    return [replace(r, updated_at=r.created_at) if r.updated_at > now + MOST_SKEW else r for r in lost]


def _is_loss(rotation: Rotation) -> bool:
    return rotation.new_authorization_id is not None and rotation.kind is RotationKind.ROTATION
