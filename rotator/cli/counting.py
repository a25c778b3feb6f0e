"""How far a run is, for the line that a terminal shows: `37 of 50: proving the new PAT of npm-feed`."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.events.event import Event
from rotator.domain.events.inventory import CreationDropped, PatCreated, UpdateDropped
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.events.rotations import (
    MintStarted,
    OverlapStarted,
    PatMinted,
    PatVerified,
    RotationAbandoned,
    RotationBlocked,
    RotationCompleted,
    RotationFailed,
    RotationFrozen,
    RotationPlanned,
    SecretStored,
    StoreStarted,
)
from rotator.domain.plan import CHANGES
from rotator.engine.context import RunContext
from rotator.engine.planning import make_plan

_ENDS = (
    OverlapStarted,
    RotationCompleted,
    RotationAbandoned,
    RotationFailed,
    RotationBlocked,
    RotationFrozen,
    PatCreated,
    CreationDropped,
    UpdateDropped,
)
"""After one of these the next PAT is worked on, however it ended."""
_NEXT: Mapping[type[Event], str] = {
    RotationPlanned: "asking whether its vault can be written: {}",
    MintStarted: "waiting for the new PAT of {}",
    PatMinted: "proving the new PAT of {}",
    PatVerified: "asking its vault: {}",
    StoreStarted: "waiting for its vault: {}",
    SecretStored: "reading back what its vault holds: {}",
    RevokeStarted: "waiting for a revocation: {}",
}
"""What is waited for after each, which may take long: more than what has just happened."""


class Count:
    """Counts the PATs that a run is done with, of those that it was to work on. One alone is not counted."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done: set[str] = set()

    def describe(self, event: Event, subject: str) -> str:
        """Say what is waited for now, or else what has just happened, and how many are done."""
        if isinstance(event, _ENDS):
            self._done.add(subject)
        said = _NEXT.get(type(event), f"{event.type.name.replace('_', ' ')} {{}}").format(subject)
        total = max(self._total, len(self._done))
        return said if total < 2 else f"{len(self._done)} of {total}: {said}"


def count_due(run: RunContext) -> int:
    """Count what a run that starts now is to work on, by our own records."""
    plan = make_plan(run)
    return sum(action.kind in CHANGES for action in plan.actions) - len(plan.postponed)
