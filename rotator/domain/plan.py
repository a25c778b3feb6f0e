"""What a run would do now: a value that can be shown and refused before anything happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from rotator.domain.backoff import is_kept_from
from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.policy import Decision, Policy, Rule, RuleAction, Verdict
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.timetable import HeldBack
from rotator.domain.urgency import LONGEST_RETRY, bound_wait
from rotator.errors import FailureKind


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
    HOOK_AWAITED = "hook_awaited"
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
    VANISHED = "vanished"
    FORBIDDEN = "forbidden"
    SIGN_IN_NEEDED = "sign_in_needed"
    OUTSIDE_WINDOWS = "outside_windows"
    CHANGE_FREEZE = "change_freeze"
    ALL_PAUSED = "all_paused"


class Action(NamedTuple):
    """One ManagedPat's part of the plan, as fields.

    `expires_at` is when the new PAT would expire (ROTATE), `retires_at` when the old PAT would be or is revoked.
    `failure` is what keeps a run from doing more: the last failure, until the record's `retry_at`, or what blocks it.
    `held_back` is what it waits for, `held_until` when it continues by itself. `despite` is what it does not wait for.
    `lack` is what it will not wait for, as no window opens in time: it continues at `held_until`. `signed_out` is the
    account whose sign-in it waits for.
    """

    kind: ActionKind
    pat: ManagedPat
    reason: ActionReason
    decision: Decision | None = None
    rotation: Rotation | None = None
    expires_at: datetime | None = None
    retires_at: datetime | None = None
    failure: Failure | None = None
    held_back: HeldBack | None = None
    held_until: datetime | None = None
    despite: HeldBack | None = None
    lack: HeldBack | None = None
    signed_out: str = ""

    @property
    def lacks_window(self) -> bool:
        """Whether no window opens in time."""
        return self.lack is not None


_URGENCY = {kind: number for number, kind in enumerate(ActionKind)}


def get_urgency(action: Action) -> tuple[int, datetime, str]:
    """Return the sort key that puts the most urgent first."""
    return _URGENCY[action.kind], action.pat.valid_to, action.pat.name


@dataclass(frozen=True)
class Plan:
    """Every ManagedPat's action, the most urgent first.

    `postponed` are due, but over `max_rotations_per_hour`. `signed_out` are the accounts that a person must sign in
    before anything is done for their PATs, as far as the one who made the plan knows; `waiting` is how many PATs of
    each wait for that, due or not, where it is known. `is_paused`: everything is. `is_clock_wrong`: that of this host,
    as a run saw it last.
    """

    made_at: datetime
    actions: tuple[Action, ...]
    postponed: tuple[str, ...] = ()
    signed_out: tuple[str, ...] = ()
    is_paused: bool = False
    is_clock_wrong: bool = False
    waiting: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_changes(self) -> bool:
        """Whether a run would change anything."""
        return any(action.kind in CHANGES or action.kind is ActionKind.ADOPT for action in self.actions)

    def of_kind(self, kind: ActionKind) -> tuple[Action, ...]:
        """Return the actions of one kind, in order."""
        return tuple(action for action in self.actions if action.kind is kind)


_VERDICTS = {
    Verdict.DUE: (ActionKind.ROTATE, ActionReason.UNDER_THRESHOLD),
    Verdict.NOT_DUE: (ActionKind.NONE, ActionReason.NOT_DUE),
    Verdict.ALERT: (ActionKind.ALERT, ActionReason.UNDER_THRESHOLD),
    Verdict.IGNORED: (ActionKind.NONE, ActionReason.IGNORED),
    Verdict.BLOCKED: (ActionKind.BLOCKED, ActionReason.FORBIDDEN),
}


def choose_action(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, longest: timedelta | None, now: datetime
) -> Action:
    """Choose the action for one ManagedPat: by its open rotation, else by its record, else by the policy.

    What the policy has against it is in the decision. A run takes out the record of a canary that was interrupted.
    """
    if rotation is not None:
        return _plan_open(pat, rotation, policy, now)
    if pat.is_canary:
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED)
    if pat.state is ManagedPatState.PAUSED:
        return Action(ActionKind.NONE, pat, ActionReason.PAUSED)
    decision = policy.decide(pat, now=now, longest=longest)
    failure = pat.last_failure
    is_in_the_way = pat.blocked or decision.verdict is Verdict.DUE
    is_past = has_past_failure(pat, decision, now)
    if failure is not None and is_in_the_way and is_waiting(pat, now) and not is_past:
        kind = ActionKind.BLOCKED if pat.blocked else ActionKind.WAIT
        action = Action(kind, pat, ActionReason.FAILED_BEFORE, decision, failure=failure)
    else:
        action = _follow(decision, pat, now)
    return _hold_by_timetable(action, policy, decision, now)


def _follow(decision: Decision, pat: ManagedPat, now: datetime) -> Action:
    """Choose what the policy decides."""
    expires_at = retires_at = None
    if decision.verdict is Verdict.DUE and decision.lifetime is not None and decision.rule is not None:
        expires_at = now + decision.lifetime
        retires_at = None if decision.is_leak else find_end_of_old(pat, decision.rule, now)
    kind, reason = _VERDICTS[decision.verdict]
    if kind is ActionKind.ROTATE and not pat.has_pat:
        return Action(kind, pat, ActionReason.TO_BE_CREATED, decision, expires_at=expires_at)
    if decision.is_leak:
        reason = ActionReason.VANISHED
    elif decision.is_wanted and kind is ActionKind.ROTATE:
        reason = ActionReason.TO_BE_UPDATED
    elif reason is ActionReason.UNDER_THRESHOLD and now >= pat.valid_to:
        reason = ActionReason.EXPIRED
    return Action(kind, pat, reason, decision, expires_at=expires_at, retires_at=retires_at)


def _hold_by_timetable(action: Action, policy: Policy, decision: Decision, now: datetime) -> Action:
    """Make an action wait for a window or for the end of a change freeze, or say that it does not wait for one."""
    pat, is_left = action.pat, action.pat.blocked or action.pat.all_organizations
    lack = None if is_left else policy.find_lack(pat, decision, now)
    if decision.held_back is not None and action.kind in (ActionKind.ROTATE, ActionKind.WAIT):
        moment = pat.retry_at if action.kind is ActionKind.WAIT and pat.retry_at is not None else now
        waiting = _hold(Action(ActionKind.WAIT, pat, ActionReason.NOT_DUE, decision), decision.held_back)
        return waiting._replace(held_until=policy.find_turn(pat, moment, now), lack=lack)
    if action.kind is ActionKind.ROTATE:
        despite = policy.find_held_back(pat, now)
        return action if despite is None else action._replace(despite=despite)
    if lack is None:
        return action
    turn = policy.find_turn(pat, max(now, decision.rotate_after or now), now)
    return action._replace(lack=lack, held_until=turn)


def _hold(action: Action, back: HeldBack) -> Action:
    return action._replace(reason=ActionReason(back.by.value), held_back=back)


def find_obstacle(pat: ManagedPat, decision: Decision) -> Obstacle | None:
    """Return what keeps `rotator rotate` from making another PAT like this one."""
    rule = decision.rule
    if pat.all_organizations and rule is not None and rule.action is RuleAction.ROTATE:
        return Obstacle(ObstacleKind.ALL_ORGANIZATIONS)
    return decision.obstacle


def find_end_of_old(pat: ManagedPat, rule: Rule, now: datetime) -> datetime:
    """Return when the PAT is revoked if it is rotated now: when its overlap is over, and a window is open."""
    until = now + rule.overlap
    return min(rule.timetable.find_opening(until), max(until, pat.valid_to)) if rule.overlap else until


def is_waiting(pat: ManagedPat, now: datetime) -> bool:
    """Whether an earlier failure says to leave it alone for now, or for good when a person has to act.

    A time further ahead than any failure can set it now, with the time that the PAT has left, does not count.
    """
    if pat.retry_at is None:
        return pat.blocked
    return is_kept_from(pat.retry_at, now, longest=bound_wait(LONGEST_RETRY, pat.valid_to - now))


def has_past_failure(pat: ManagedPat, decision: Decision, now: datetime) -> bool:
    """Whether its last failure is past: nothing is to be done for it, so nothing stands in the way.

    What a person must fix stays blocked, unless the policy forbade it and no longer does, or the policy no longer
    rotates it. Anything else is past when the time to try again has come.
    """
    failure, rule = pat.last_failure, decision.rule
    is_held = pat.blocked and pat.hold is not None
    if failure is None or is_held or decision.verdict in (Verdict.DUE, Verdict.BLOCKED):
        return False
    is_left = rule is not None and rule.action is not RuleAction.ROTATE
    if (is_left and not pat.is_called_missing) or (pat.blocked and failure.kind is FailureKind.FORBIDDEN):
        return True
    return not pat.blocked and not is_waiting(pat, now)


def is_denied(pat: ManagedPat) -> bool:
    """Whether it is blocked because its vault, or who signs in to it, denied something."""
    failure = pat.last_failure
    return pat.blocked and pat.hold is None and failure is not None and failure.kind is FailureKind.DENIED


def may_be_granted(pat: ManagedPat, decision: Decision, now: datetime) -> bool:
    """Whether the vault is to be asked if it still denies what it denied: nothing else is to be done for the PAT."""
    return is_denied(pat) and decision.verdict not in (Verdict.DUE, Verdict.BLOCKED) and not is_waiting(pat, now)


def _plan_open(pat: ManagedPat, rotation: Rotation, policy: Policy, now: datetime) -> Action:
    until, held = rotation.overlap_until, policy.find_revocation_held_back(pat, rotation, now)
    if rotation.state is not RotationState.OVERLAPPING or until is None:
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED, rotation=rotation)
    failure = pat.last_failure
    if pat.retry_at is not None and is_waiting(pat, now) and failure is not None:
        reason = ActionReason.FAILED_BEFORE
        return Action(ActionKind.WAIT, pat, reason, rotation=rotation, retires_at=until, failure=failure)
    if rotation.is_misdated(now):
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED, rotation=rotation)
    if rotation.awaited_hooks and now < rotation.predecessor_valid_to:
        if policy.find_awaited(rotation):
            return Action(ActionKind.WAIT, pat, ActionReason.HOOK_AWAITED, rotation=rotation)
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED, rotation=rotation)
    turn = policy.find_retirement(pat, rotation, until, now)
    if held is not None and (now >= until or held.until is None):
        reason = ActionReason.OVERLAP_OVER
        waiting = Action(ActionKind.WAIT, pat, reason, rotation=rotation, retires_at=turn, held_until=turn)
        return _hold(waiting, held)
    if now >= until:
        despite = policy.find_held_back(pat, now) if now < rotation.predecessor_valid_to else None
        reason = ActionReason.OVERLAP_OVER
        return Action(ActionKind.RETIRE, pat, reason, rotation=rotation, retires_at=until, despite=despite)
    if now >= rotation.predecessor_valid_to:
        return Action(ActionKind.RETIRE, pat, ActionReason.EXPIRED, rotation=rotation, retires_at=until)
    return Action(ActionKind.WAIT, pat, ActionReason.OVERLAPPING, rotation=rotation, retires_at=turn)
