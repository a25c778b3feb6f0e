"""What a run would do now, by the inventory, the journal and the policy only: no server is asked."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import ManagedPat, ManagedPatState
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.policy import FORBIDDEN, Decision, Policy, RuleAction, Verdict
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.urgency import LONGEST_RETRY, bound_wait
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision
from rotator.engine.holds import is_called_missing
from rotator.engine.newcomers import plan_newcomers
from rotator.engine.pace import count_places
from rotator.engine.records import known_in
from rotator.ports.database import Database

_URGENCY = {kind: number for number, kind in enumerate(ActionKind)}
_VERDICTS = {
    Verdict.DUE: (ActionKind.ROTATE, ActionReason.UNDER_THRESHOLD),
    Verdict.NOT_DUE: (ActionKind.NONE, ActionReason.NOT_DUE),
    Verdict.ALERT: (ActionKind.ALERT, ActionReason.UNDER_THRESHOLD),
    Verdict.IGNORED: (ActionKind.NONE, ActionReason.IGNORED),
    Verdict.BLOCKED: (ActionKind.BLOCKED, ActionReason.FORBIDDEN),
}


def make_plan(run: RunContext) -> Plan:
    """Make the plan of a run that would start now."""
    return plan_from(run.services.database, run.policy, run.services.clock.now())


def plan_from(database: Database, policy: Policy, now: datetime) -> Plan:
    """Make one action for every ManagedPat, and for what a rule asks to take over, the most urgent first."""
    with database.read() as reading:
        known = known_in(reading, now)
        limits = reading.limits.load()
        places = count_places(reading, policy.guardrails, now)
        actions = plan_newcomers(reading, policy, known, now)
    pats = [pat.as_of(now) for pat in known.pats]
    rotations = {rotation.name: rotation for rotation in known.open_rotations}
    for pat in pats:
        longest = find_longest(limits, pat, now)
        actions.append(plan_one(pat, rotations.get(pat.name), policy, longest, now))
    actions.sort(key=lambda action: (_URGENCY[action.kind], action.pat.valid_to, action.pat.name))
    due = [action.pat.name for action in actions if action.kind is ActionKind.ROTATE]
    return Plan(now, tuple(actions), tuple(due[places:]))


def plan_one(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, longest: timedelta | None, now: datetime
) -> Action:
    """Choose the action for one ManagedPat: by its open rotation, else by its record, else by the policy."""
    if rotation is not None:
        return _plan_open(pat, rotation, now)
    if pat.state is ManagedPatState.PAUSED:
        return Action(ActionKind.NONE, pat, ActionReason.PAUSED)
    decision = policy.decide(pat, now=now, longest=longest)
    failure = pat.last_failure
    is_in_the_way = pat.blocked or decision.verdict is Verdict.DUE
    is_past = has_past_failure(pat, decision, now)
    if failure is not None and is_in_the_way and is_waiting(pat, now) and not is_past:
        kind = ActionKind.BLOCKED if pat.blocked else ActionKind.WAIT
        return Action(kind, pat, ActionReason.FAILED_BEFORE, decision, failure=failure)
    expires_at = retires_at = None
    if decision.verdict is Verdict.DUE and decision.lifetime is not None and decision.rule is not None:
        expires_at, retires_at = now + decision.lifetime, now + decision.rule.overlap
    kind, reason = _VERDICTS[decision.verdict]
    if kind is ActionKind.ROTATE and not pat.has_pat:
        return Action(kind, pat, ActionReason.TO_BE_CREATED, decision, expires_at=expires_at)
    if decision.is_wanted and kind is ActionKind.ROTATE:
        reason = ActionReason.TO_BE_UPDATED
    elif reason is ActionReason.UNDER_THRESHOLD and now >= pat.valid_to:
        reason = ActionReason.EXPIRED
    return Action(
        kind, pat, reason, decision, expires_at=expires_at, retires_at=retires_at, failure=explain_decision(decision)
    )


def plan_update(pat: ManagedPat, decision: Decision, now: datetime) -> Action:
    """Choose the action for what a person wants of the next PAT of a ManagedPat, where the policy allows it."""
    expires_at = None if decision.lifetime is None else now + decision.lifetime
    retires_at = None if decision.rule is None else now + decision.rule.overlap
    reason = ActionReason.TO_BE_UPDATED
    return Action(ActionKind.ROTATE, pat, reason, decision, expires_at=expires_at, retires_at=retires_at)


def is_waiting(pat: ManagedPat, now: datetime) -> bool:
    """Whether an earlier failure says to leave it alone for now, or for good when a person has to act.

    A time further ahead than any failure can set it now, with the time that the PAT has left, does not count.
    """
    if pat.retry_at is None:
        return pat.blocked
    return now < pat.retry_at <= now + bound_wait(LONGEST_RETRY, pat.valid_to - now)


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
    if (is_left and not is_called_missing(pat)) or (pat.blocked and failure.code == FORBIDDEN):
        return True
    return not pat.blocked and not is_waiting(pat, now)


def _plan_open(pat: ManagedPat, rotation: Rotation, now: datetime) -> Action:
    until = rotation.overlap_until
    if rotation.state is not RotationState.OVERLAPPING or until is None:
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED, rotation=rotation)
    failure = pat.last_failure
    if pat.retry_at is not None and is_waiting(pat, now) and failure is not None:
        reason = ActionReason.FAILED_BEFORE
        return Action(ActionKind.WAIT, pat, reason, rotation=rotation, retires_at=until, failure=failure)
    if rotation.is_misdated(now):
        return Action(ActionKind.RECOVER, pat, ActionReason.INTERRUPTED, rotation=rotation)
    if now >= until:
        return Action(ActionKind.RETIRE, pat, ActionReason.OVERLAP_OVER, rotation=rotation, retires_at=until)
    if now >= rotation.predecessor_valid_to:
        return Action(ActionKind.RETIRE, pat, ActionReason.EXPIRED, rotation=rotation, retires_at=until)
    return Action(ActionKind.WAIT, pat, ActionReason.OVERLAPPING, rotation=rotation, retires_at=until)
