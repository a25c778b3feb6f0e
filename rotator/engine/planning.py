"""What a run would do now, by the inventory, the journal and the policy only: no server is asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rotator.domain.clocks import HOST
from rotator.domain.condition import ConditionKind
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan, choose_action, find_end_of_old, get_urgency
from rotator.domain.policy import Decision, Policy, Verdict
from rotator.domain.rotation import Rotation
from rotator.domain.timetable import ChangeFreeze
from rotator.engine.auditing import find_lasting
from rotator.engine.claiming import check_managed
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision, explain_obstacle, explain_uncovered
from rotator.engine.in_force import put_in_force
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
    policy, known = put_in_force(reading, policy), known_in(reading, now)
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
    is_wrong = HOST in find_lasting(reading, ConditionKind.CLOCK_WRONG)
    return Plan(now, tuple(actions), tuple(due[places:]), is_paused=policy.is_paused, is_clock_wrong=is_wrong)


def plan_one(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, longest: timedelta | None, now: datetime
) -> Action:
    """Choose the action for one ManagedPat, with the words for what the policy has against it."""
    action = choose_action(pat, rotation, policy, longest, now)
    if action.failure is not None or action.decision is None:
        return action
    failure = explain_decision(action.decision, pat)
    if failure is not None and pat.hold is not None and pat.last_failure is not None:
        failure = pat.last_failure  # what happened to its PAT weighs more
    return action if failure is None else action._replace(failure=failure)


def plan_by_hand(reading: Reading, policy: Policy, names: Iterable[str], now: datetime) -> Plan:
    """Make the plan of rotating these ManagedPats by hand: due or not, paused or not, whatever failed before.

    What the policy or their own reach forbids is blocked, as it would be. NotManagedError for a name without a record.
    """
    actions, policy = [], put_in_force(reading, policy)
    for name in names:
        pat = check_managed(reading, name).as_ending()
        rotation = next((found for found in reading.journal.load_for(name) if found.is_open), None)
        actions.append(
            _plan_by_hand(pat, policy, now) if rotation is None else choose_action(pat, rotation, policy, None, now)
        )
    return Plan(now, tuple(actions))


def _plan_by_hand(pat: ManagedPat, policy: Policy, now: datetime) -> Action:
    decision = policy.decide(pat, now=now, longest=None)
    failure = explain_decision(decision, pat)
    if failure is None and pat.all_organizations:
        failure = explain_obstacle(Obstacle(ObstacleKind.ALL_ORGANIZATIONS), pat)
    if failure is None and decision.lifetime is None:
        failure = explain_uncovered(decision)
    if failure is not None or decision.rule is None or decision.lifetime is None:
        return Action(ActionKind.BLOCKED, pat, ActionReason.FORBIDDEN, decision, failure=failure)
    reason = ActionReason.NOT_DUE if decision.verdict is Verdict.NOT_DUE else ActionReason.UNDER_THRESHOLD
    if not pat.has_pat:
        reason = ActionReason.TO_BE_CREATED
    elif decision.is_wanted:
        reason = ActionReason.TO_BE_UPDATED
    is_replaced = pat.has_pat and not policy.is_paused
    expires_at, retires_at = now + decision.lifetime, find_end_of_old(pat, decision.rule, now) if is_replaced else None
    action = Action(ActionKind.ROTATE, pat, reason, decision, expires_at=expires_at, retires_at=retires_at)
    return action._replace(despite=policy.find_held_back(pat, now))


def find_freezes(run: RunContext, names: Iterable[str]) -> tuple[tuple[str, ChangeFreeze], ...]:
    """Return which of these ManagedPats are in a change freeze now, and in which."""
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        pats = [pat for pat in map(reading.inventory.load, names) if pat is not None]
    found = ((pat.name, run.policy.find_freeze(pat, now)) for pat in pats)
    return tuple((name, freeze) for name, freeze in found if freeze is not None)


def plan_update(pat: ManagedPat, decision: Decision, now: datetime) -> Action:
    """Choose the action for what a person wants of the next PAT of a ManagedPat, where the policy allows it."""
    expires_at = None if decision.lifetime is None else now + decision.lifetime
    retires_at = None if decision.rule is None else find_end_of_old(pat, decision.rule, now)
    reason = ActionReason.TO_BE_UPDATED
    return Action(ActionKind.ROTATE, pat, reason, decision, expires_at=expires_at, retires_at=retires_at)
