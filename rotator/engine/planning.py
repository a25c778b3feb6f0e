"""What a run would do now, by the inventory, the journal and the policy only: no server is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan, choose_action, get_urgency
from rotator.domain.policy import Decision, Policy
from rotator.domain.rotation import Rotation
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision
from rotator.engine.newcomers import plan_newcomers
from rotator.engine.pace import count_places
from rotator.engine.records import known_in
from rotator.ports.database import Database, Reading


def make_plan(run: RunContext) -> Plan:
    """Make the plan of a run that would start now."""
    return plan_from(run.services.database, run.policy, run.services.clock.now())


def plan_from(database: Database, policy: Policy, now: datetime) -> Plan:
    """Make the plan of `plan_in`, by a look of its own."""
    with database.read() as reading:
        return plan_in(reading, policy, now)


def plan_in(reading: Reading, policy: Policy, now: datetime) -> Plan:
    """Make one action for every ManagedPat, and for what a rule asks to take over, the most urgent first."""
    known = known_in(reading, now)
    limits = reading.limits.load()
    places = count_places(reading, policy.guardrails, now)
    actions = plan_newcomers(reading, policy, known, now)
    pats = [pat.as_ending() for pat in known.pats]
    rotations = {rotation.name: rotation for rotation in known.open_rotations}
    for pat in pats:
        longest = find_longest(limits, pat, now)
        actions.append(plan_one(pat, rotations.get(pat.name), policy, longest, now))
    actions.sort(key=get_urgency)
    due = [action.pat.name for action in actions if action.kind is ActionKind.ROTATE]
    return Plan(now, tuple(actions), tuple(due[places:]))


def plan_one(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, longest: timedelta | None, now: datetime
) -> Action:
    """Choose the action for one ManagedPat, with the words for what the policy has against it."""
    action = choose_action(pat, rotation, policy, longest, now)
    if action.failure is not None or action.decision is None:
        return action
    return replace(action, failure=explain_decision(action.decision))


def plan_update(pat: ManagedPat, decision: Decision, now: datetime) -> Action:
    """Choose the action for what a person wants of the next PAT of a ManagedPat, where the policy allows it."""
    expires_at = None if decision.lifetime is None else now + decision.lifetime
    retires_at = None if decision.rule is None else now + decision.rule.overlap
    reason = ActionReason.TO_BE_UPDATED
    return Action(ActionKind.ROTATE, pat, reason, decision, expires_at=expires_at, retires_at=retires_at)
