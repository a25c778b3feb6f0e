"""What a run would do now: a value that can be shown and refused before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.policy import Decision
from rotator.domain.rotation import Rotation


class ActionKind(StrEnum):
    """What a run would do with one ManagedPat."""

    ROTATE = "rotate"
    RETIRE = "retire"
    RECOVER = "recover"
    WAIT = "wait"
    ALERT = "alert"
    BLOCKED = "blocked"
    NONE = "none"


CHANGES = frozenset({ActionKind.ROTATE, ActionKind.RETIRE, ActionKind.RECOVER})


@dataclass(frozen=True)
class Action:
    """One ManagedPat's part of the plan, with the reason in words.

    `expires_at` is when the new PAT would expire (ROTATE), `retires_at` when the old one would be or is revoked.
    """

    kind: ActionKind
    pat: ManagedPat
    reason: str
    decision: Decision | None = None
    rotation: Rotation | None = None
    expires_at: datetime | None = None
    retires_at: datetime | None = None
    fix: str = ""


@dataclass(frozen=True)
class Plan:
    """Every ManagedPat's action, the most urgent first. `postponed` are due, but over `max_rotations_per_hour`."""

    made_at: datetime
    actions: tuple[Action, ...]
    postponed: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether a run would change anything."""
        return any(action.kind in CHANGES for action in self.actions)

    def of_kind(self, kind: ActionKind) -> tuple[Action, ...]:
        """The actions of one kind, in order."""
        return tuple(action for action in self.actions if action.kind is kind)
