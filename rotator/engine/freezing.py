"""Freeze a rotation: it is closed and nothing is revoked, because only a person can tell what is right."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rotator.domain.events.rotations import RotationFrozen
from rotator.domain.managed_pat import Failure
from rotator.domain.rotation import RotationChanges, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.holds import find_next_hold, list_cleared
from rotator.engine.records import add_moved
from rotator.engine.requested import find_ending
from rotator.errors import RotatorError


def freeze(held: ClaimedPat, error: RotatorError) -> RotatorError:
    """Close the rotation as failed and block its record until a person decides. Return the error to raise."""
    failure = Failure.of(error)
    frozen = replace(held.pat, last_failure=failure, blocked=True, hold=find_next_hold(held.pat, error))
    told = *list_cleared(held.pat, error), RotationFrozen(code=error.code, message=error.message)
    changes: RotationChanges = {**find_ending(held), "failure": failure}
    held.step(RotationState.FAILED, *told, pat=frozen, admit=partial(add_moved, held.rotation), **changes)
    return error
