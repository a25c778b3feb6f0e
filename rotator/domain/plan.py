"""What a run would do now: a value that can be shown and refused before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.policy import Decision
from rotator.domain.rotation import Rotation


class ActionKind(StrEnum):
    """What a run would do with one ManagedPat, or with a PAT that a rule asks to take over."""

    ROTATE = "rotate"
    RETIRE = "retire"
    RECOVER = "recover"
    ADOPT = "adopt"
    WAIT = "wait"
    ALERT = "alert"
    BLOCKED = "blocked"
    NONE = "none"


CHANGES = frozenset({ActionKind.ROTATE, ActionKind.RETIRE, ActionKind.RECOVER})
"""What a run would do with ManagedPats; with those that it would take over, `adopt`."""


class ActionReason(StrEnum):
    """Why a run would do it. The fields of the action say the rest: its record, rotation, decision and failure."""

    INTERRUPTED = "interrupted"
    OVERLAPPING = "overlapping"
    OVERLAP_OVER = "overlap_over"
    FAILED_BEFORE = "failed_before"
    PAUSED = "paused"
    IGNORED = "ignored"
    NOT_DUE = "not_due"
    UNDER_THRESHOLD = "under_threshold"
    TO_BE_CREATED = "to_be_created"
    TO_BE_UPDATED = "to_be_updated"
    TO_BE_ADOPTED = "to_be_adopted"
    ADOPTION_BLOCKED = "adoption_blocked"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    SIGN_IN_NEEDED = "sign_in_needed"


@dataclass(frozen=True)
class Action:
    """One ManagedPat's part of the plan, as fields.

    `expires_at` is when the new PAT would expire (ROTATE), `retires_at` when the old one would be or is revoked.
    `failure` is what keeps a run from doing more: the last failure, until the record's `retry_at`, or what blocks it.
    """

    kind: ActionKind
    pat: ManagedPat
    reason: ActionReason
    decision: Decision | None = None
    rotation: Rotation | None = None
    expires_at: datetime | None = None
    retires_at: datetime | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Plan:
    """Every ManagedPat's action, the most urgent first.

    `postponed` are due, but over `max_rotations_per_hour`. `signed_out` are the accounts that a person must sign in
    before anything is done for their PATs, as far as the one who made the plan knows.
    """

    made_at: datetime
    actions: tuple[Action, ...]
    postponed: tuple[str, ...] = ()
    signed_out: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether a run would change anything."""
        return any(action.kind in CHANGES or action.kind is ActionKind.ADOPT for action in self.actions)

    def of_kind(self, kind: ActionKind) -> tuple[Action, ...]:
        """Return the actions of one kind, in order."""
        return tuple(action for action in self.actions if action.kind is kind)
