"""What a run did: one outcome for each thing that happened to a ManagedPat, gathered from all of its threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self, TypedDict, Unpack

from rotator.domain.hook import HookCall
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.policy import Decision
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.timetable import HeldBack
from rotator.engine.subjects import name_organization
from rotator.errors import ClockSkewError, RotatorError, SignInRequiredError


class OutcomeKind(StrEnum):
    """What a run did with a ManagedPat, or why it did nothing.

    `adopted`: a rule took it over. `held`: another run is working on it, or it waits for a window or for the end of a
    change freeze. `settling`: a request whose answer was lost may still take effect.
    """

    ADOPTED = "adopted"
    RECOVERED = "recovered"
    ABANDONED = "abandoned"
    CREATED = "created"
    ROTATED = "rotated"
    RETIRED = "retired"
    SETTLING = "settling"
    HELD = "held"
    POSTPONED = "postponed"
    FAILED = "failed"
    BLOCKED = "blocked"


class OutcomeReason(StrEnum):
    """What led to an outcome, where the kind alone does not say it."""

    INTERRUPTED = "interrupted"
    LATE_MINT_REVOKED = "late_mint_revoked"
    VALUE_RESTORED = "value_restored"
    CLONE_REVOKED_ELSEWHERE = "clone_revoked_elsewhere"
    PREDECESSOR_GONE = "predecessor_gone"
    VANISHED = "vanished"
    REVOCATION_UNCONFIRMED = "revocation_unconfirmed"
    HOOK_FAILED = "hook_failed"
    HOOK_AWAITED = "hook_awaited"
    OUTSIDE_WINDOWS = "outside_windows"
    CHANGE_FREEZE = "change_freeze"
    ALL_PAUSED = "all_paused"
    CLOCK_SKEWED = "clock_skewed"


DONE_KINDS = frozenset(
    {OutcomeKind.ADOPTED, OutcomeKind.CREATED, OutcomeKind.ROTATED, OutcomeKind.RETIRED, OutcomeKind.RECOVERED}
)
"""What was brought to its end."""


class OutcomeFields(TypedDict, total=False):
    """The fields of an outcome that only some kinds have; see PatOutcome."""

    reason: OutcomeReason | None
    rotation_id: str | None
    state_before: RotationState
    revoked_id: str | None
    left_id: str | None
    secret_name: str
    overlap_until: datetime | None
    ends: tuple[datetime, datetime] | None
    is_paused: bool
    settles_until: datetime | None
    pending_id: str
    decision: Decision
    held_back: HeldBack
    held_until: datetime | None
    despite: HeldBack | None


@dataclass(frozen=True)
class PatOutcome:
    """One thing that a run did with a ManagedPat, as fields; an account that is down has no authorization id.

    `authorization_id`: the PAT that is current afterwards. `state_before`: what an interrupted rotation was found in.
    `revoked_id`: the PAT that was revoked. `left_id`: the old PAT that nobody can revoke now, as the account that it
    moved from cannot work (rotated), or that was left alive at the end of its overlap (recovered). `secret_name`: where
    the value of a new PAT is. `overlap_until`: how long the old PAT stays valid (rotated). `ends`: when the
    old and the new PAT expire, where a person asked for a change of it; `is_paused`: a
    person paused it by name, and rotated it all the same (rotated).
    `settles_until`: until when a request of the rotation `rotation_id` may still take effect; `pending_id`: the PAT
    whose revocation is not confirmed (both settling). `decision`: why it was rotated. `held_back`: what it waits for,
    until `held_until`. `despite`: what it did not wait for (rotated, retired). `place`: what is down, an account, an
    organization or a vault, if that is why.
    """

    kind: OutcomeKind
    name: str
    account: str
    organization: str
    authorization_id: str = ""
    reason: OutcomeReason | None = None
    rotation_id: str | None = None
    state_before: RotationState | None = None
    revoked_id: str | None = None
    left_id: str | None = None
    secret_name: str = ""
    overlap_until: datetime | None = None
    ends: tuple[datetime, datetime] | None = None
    is_paused: bool = False
    settles_until: datetime | None = None
    pending_id: str | None = None
    decision: Decision | None = None
    held_back: HeldBack | None = None
    held_until: datetime | None = None
    despite: HeldBack | None = None
    failure: Failure | None = None
    needs_sign_in: bool = False
    place: str = ""

    @property
    def is_of_place(self) -> bool:
        """Whether it is about an account or an organization, and about no PAT."""
        return not self.authorization_id and self.name == self.account

    @classmethod
    def of(cls, kind: OutcomeKind, pat: ManagedPat, **fields: Unpack[OutcomeFields]) -> Self:
        """Make the outcome of a ManagedPat."""
        return cls(kind, pat.name, pat.account, pat.organization, pat.authorization_id, **fields)

    @classmethod
    def of_error(cls, kind: OutcomeKind, pat: ManagedPat, error: RotatorError, place: str = "") -> Self:
        """Make the outcome of a ManagedPat that an error stopped; `place` is what is down, if that is why."""
        return cls(
            kind,
            pat.name,
            pat.account,
            pat.organization,
            pat.authorization_id,
            failure=Failure.of(error),
            needs_sign_in=isinstance(error, SignInRequiredError),
            place=place,
        )

    @classmethod
    def of_forgotten(cls, rotation: Rotation) -> Self:
        """Make the outcome of a rotation that was closed because its record is gone."""
        place = (rotation.name, rotation.account, rotation.organization, rotation.predecessor_id)
        return cls(OutcomeKind.FAILED, *place, rotation_id=rotation.id, failure=rotation.failure)

    @classmethod
    def of_unread(cls, pat: Pat, account: str, organization: str, failure: Failure) -> Self:
        """Make the outcome of a PAT that a rule asks to take over and that could not be looked at."""
        return cls(OutcomeKind.FAILED, pat.display_name, account, organization, pat.authorization_id, failure=failure)

    @classmethod
    def of_down(cls, account: str, organization: str, error: RotatorError) -> Self:
        """Make the outcome of an account, or of one of its organizations, that could not be worked with."""
        failure, needs_sign_in = Failure.of(error), isinstance(error, SignInRequiredError)
        place = account if needs_sign_in or not organization else name_organization((account, organization))
        return cls(
            OutcomeKind.FAILED,
            account,
            account,
            organization,
            failure=failure,
            needs_sign_in=needs_sign_in,
            place=place,
        )

    @classmethod
    def of_hook(cls, call: HookCall) -> Self:
        """Make the outcome of a call of a hook that failed and is made again."""
        event = call.event
        place = (event.subject, event.account or "", event.organization or "", event.authorization_id or "")
        return cls(OutcomeKind.FAILED, *place, reason=OutcomeReason.HOOK_FAILED, failure=call.failure)

    @classmethod
    def of_hooks(cls, error: RotatorError) -> Self:
        """Make the outcome of hooks that could not be called, because of something else than a hook."""
        reason = OutcomeReason.HOOK_FAILED
        return cls(OutcomeKind.FAILED, "hooks", "", "", reason=reason, failure=Failure.of(error))


@dataclass
class RunReport:
    """The outcomes of a run, in the order in which they came.

    `is_stopped`: a stop ended it before it was over. `is_down`: an account or organization could not be worked with.
    """

    run_id: str
    is_stopped: bool = False
    is_down: bool = False
    _outcomes: list[PatOutcome] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, outcome: PatOutcome) -> None:
        """Add an outcome; any thread may."""
        with self._lock:
            self._outcomes.append(outcome)

    @property
    def outcomes(self) -> tuple[PatOutcome, ...]:
        """Return all outcomes so far."""
        with self._lock:
            return tuple(self._outcomes)

    def of_kind(self, *kinds: OutcomeKind) -> tuple[PatOutcome, ...]:
        """Return the outcomes of these kinds, in the order in which they came."""
        return tuple(outcome for outcome in self.outcomes if outcome.kind in kinds)


class RunSkewedError(ClockSkewError):
    """The host's clock ended a run. `report` has what was done before, by the witnesses' time what could not wait."""

    def __init__(self, cause: ClockSkewError, report: RunReport) -> None:
        super().__init__(cause.message, fix=cause.fix)
        self.report = report
