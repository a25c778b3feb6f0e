"""What a run would do with one ManagedPat, and what a plan says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.policy import Guardrails, Policy, RuleAction, Verdict
from rotator.domain.rotation import CLOSED_STATES, Rotation, RotationState
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import ChangeFreeze, Timetable
from rotator.engine.explaining import explain_decision
from rotator.engine.planning import plan_by_hand, plan_one
from rotator.errors import NotManagedError
from tests.support.fake_database import MemoryDatabase
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW, make_managed_pat, make_rotation

SECOND = timedelta(seconds=1)
FAILURE = Failure("transient", "the vault did not answer", "Look at the vault.")
DUE = replace(RULE, rotate_before=Threshold(duration=20 * DAY))
POLICY = make_policy(DUE)
PAT = make_managed_pat()
WAITING = replace(PAT, failures=1, last_failure=FAILURE, retry_at=NOW + SECOND)


def plan(
    pat: ManagedPat = PAT,
    rotation: Rotation | None = None,
    *,
    policy: Policy = POLICY,
    longest: timedelta | None = None,
    now: datetime = NOW,
) -> Action:
    """The action for a PAT with 10 of 30 days left, due unless said otherwise."""
    return plan_one(pat, rotation, policy, longest, now)


def test_action_is_rotate_with_its_times_when_due() -> None:
    action = plan()
    assert (action.kind, action.pat, action.rotation, action.failure) == (ActionKind.ROTATE, PAT, None, None)
    assert (action.expires_at, action.retires_at) == (NOW + 30 * DAY, NOW + DAY)
    assert action.decision is not None
    assert action.decision.verdict is Verdict.DUE
    assert action.reason is ActionReason.UNDER_THRESHOLD


def test_action_expires_by_the_learned_limit_when_the_server_clamps() -> None:
    assert plan(longest=25 * DAY).expires_at == NOW + 25 * DAY


@pytest.mark.parametrize(
    ("policy", "kind", "reason"),
    [
        (make_policy(RULE), ActionKind.NONE, ActionReason.NOT_DUE),
        (make_policy(replace(DUE, action=RuleAction.ALERT)), ActionKind.ALERT, ActionReason.UNDER_THRESHOLD),
        (make_policy(replace(DUE, action=RuleAction.IGNORE)), ActionKind.NONE, ActionReason.IGNORED),
        (make_policy(), ActionKind.BLOCKED, ActionReason.FORBIDDEN),
        (
            make_policy(DUE, guardrails=Guardrails(deny_scopes=("vso.code",))),
            ActionKind.BLOCKED,
            ActionReason.FORBIDDEN,
        ),
        (make_policy(DUE, guardrails=Guardrails(max_lifetime=DAY)), ActionKind.BLOCKED, ActionReason.FORBIDDEN),
    ],
    ids=["not due", "alert", "ignore", "uncovered", "scope", "storm"],
)
def test_action_follows_the_policy_when_nothing_is_under_way(
    policy: Policy, kind: ActionKind, reason: ActionReason
) -> None:
    action = plan(policy=policy)
    assert action.kind is kind
    assert action.reason is reason
    assert (action.expires_at, action.retires_at) == (None, None)
    assert action.decision is not None
    assert action.failure == explain_decision(action.decision, action.pat)
    assert (action.failure is not None) == (kind is ActionKind.BLOCKED)


def test_action_says_expired_when_a_due_pat_is_over() -> None:
    assert plan(now=PAT.valid_to - SECOND).reason is ActionReason.UNDER_THRESHOLD
    assert plan(now=PAT.valid_to).reason is ActionReason.EXPIRED
    alert = make_policy(replace(DUE, action=RuleAction.ALERT))
    assert plan(policy=alert, now=PAT.valid_to).reason is ActionReason.EXPIRED


def test_action_is_none_when_paused() -> None:
    action = plan(replace(WAITING, state=ManagedPatState.PAUSED, blocked=True))
    assert (action.kind, action.reason, action.decision) == (ActionKind.NONE, ActionReason.PAUSED, None)


@pytest.mark.parametrize(("blocked", "kind"), [(False, ActionKind.WAIT), (True, ActionKind.BLOCKED)])
def test_action_tells_the_last_failure_when_it_is_too_early_to_try_again(blocked: bool, kind: ActionKind) -> None:
    action = plan(replace(WAITING, blocked=blocked))
    assert (action.kind, action.reason, action.failure) == (kind, ActionReason.FAILED_BEFORE, FAILURE)
    assert action.decision is not None
    assert (action.decision.rule, action.decision.rotate_after) == (DUE, PAT.valid_to - 20 * DAY)


@pytest.mark.parametrize("blocked", [False, True])
def test_action_is_rotate_when_the_time_to_try_again_has_come(blocked: bool) -> None:
    pat = replace(WAITING, blocked=blocked)
    assert plan(pat, now=NOW + SECOND).kind is ActionKind.ROTATE


def test_action_is_blocked_when_no_time_to_try_again_is_set() -> None:
    """Adopted as something that cannot be cloned: only a person can change that."""
    assert plan(replace(WAITING, blocked=True, retry_at=None)).kind is ActionKind.BLOCKED
    assert plan(replace(WAITING, blocked=False, retry_at=None)).kind is ActionKind.ROTATE


def test_action_follows_the_policy_when_a_failed_pat_is_no_longer_due() -> None:
    assert plan(WAITING, policy=make_policy(RULE)).kind is ActionKind.NONE
    assert plan(replace(WAITING, blocked=True), policy=make_policy(RULE)).kind is ActionKind.BLOCKED


INTERRUPTED = sorted(set(RotationState) - CLOSED_STATES - {RotationState.OVERLAPPING})


@pytest.mark.parametrize("state", INTERRUPTED)
@pytest.mark.parametrize(
    "pat", [PAT, WAITING, replace(PAT, state=ManagedPatState.PAUSED)], ids=["ok", "failed", "paused"]
)
def test_action_is_recover_when_a_rotation_was_interrupted(state: RotationState, pat: ManagedPat) -> None:
    rotation = replace(make_rotation(), state=state, overlap_until=NOW - DAY)
    action = plan(pat, rotation)
    assert (action.kind, action.rotation) == (ActionKind.RECOVER, rotation)
    assert action.reason is ActionReason.INTERRUPTED


def test_action_is_recover_when_an_overlap_has_no_end() -> None:
    assert plan(rotation=replace(make_rotation(), state=RotationState.OVERLAPPING)).kind is ActionKind.RECOVER


@pytest.mark.parametrize(
    ("now", "kind", "reason"),
    [
        (NOW - SECOND, ActionKind.WAIT, ActionReason.OVERLAPPING),
        (NOW, ActionKind.RETIRE, ActionReason.OVERLAP_OVER),
        (NOW + DAY, ActionKind.RETIRE, ActionReason.OVERLAP_OVER),
    ],
)
@pytest.mark.parametrize("pat", [PAT, replace(PAT, state=ManagedPatState.PAUSED)], ids=["active", "paused"])
def test_action_is_retire_when_the_overlap_is_over(
    now: datetime, kind: ActionKind, reason: ActionReason, pat: ManagedPat
) -> None:
    rotation = replace(make_rotation(), state=RotationState.OVERLAPPING, overlap_until=NOW)
    action = plan(pat, rotation, now=now)
    assert (action.kind, action.reason, action.retires_at) == (kind, reason, NOW)
    assert (action.rotation, action.decision) == (rotation, None)


def test_action_waits_with_the_reason_when_retiring_failed_before() -> None:
    rotation = replace(make_rotation(), state=RotationState.OVERLAPPING, overlap_until=NOW - DAY)
    action = plan(WAITING, rotation)
    assert (action.kind, action.reason, action.failure) == (ActionKind.WAIT, ActionReason.FAILED_BEFORE, FAILURE)
    assert action.retires_at == NOW - DAY
    assert plan(WAITING, rotation, now=NOW + SECOND).kind is ActionKind.RETIRE


@pytest.mark.parametrize("kind", ActionKind)
def test_plan_has_changes_when_an_action_changes_something(kind: ActionKind) -> None:
    quiet, action = Action(ActionKind.NONE, PAT, ActionReason.NOT_DUE), Action(kind, PAT, ActionReason.PAUSED)
    made = Plan(NOW, (quiet, action, action))
    assert made.has_changes is (kind.value in {"rotate", "retire", "recover", "adopt"})
    assert made.of_kind(kind) == ((quiet, action, action) if kind is ActionKind.NONE else (action, action))
    assert not Plan(NOW, (quiet,)).has_changes


@pytest.mark.parametrize(
    ("pat", "policy", "kind", "reason", "code"),
    [
        (PAT, POLICY, ActionKind.ROTATE, ActionReason.UNDER_THRESHOLD, None),
        (PAT, make_policy(RULE), ActionKind.ROTATE, ActionReason.NOT_DUE, None),
        (WAITING, make_policy(RULE), ActionKind.ROTATE, ActionReason.NOT_DUE, None),
        (replace(PAT, state=ManagedPatState.PAUSED), make_policy(RULE), ActionKind.ROTATE, ActionReason.NOT_DUE, None),
        (replace(WAITING, blocked=True), POLICY, ActionKind.ROTATE, ActionReason.UNDER_THRESHOLD, None),
        (
            PAT,
            make_policy(replace(DUE, action=RuleAction.ALERT)),
            ActionKind.ROTATE,
            ActionReason.UNDER_THRESHOLD,
            None,
        ),
        (
            PAT,
            make_policy(replace(DUE, action=RuleAction.IGNORE)),
            ActionKind.BLOCKED,
            ActionReason.FORBIDDEN,
            "uncovered",
        ),
        (PAT, make_policy(), ActionKind.BLOCKED, ActionReason.FORBIDDEN, "blocked"),
        (replace(PAT, all_organizations=True), POLICY, ActionKind.BLOCKED, ActionReason.FORBIDDEN, "all_organizations"),
        (
            PAT,
            make_policy(DUE, guardrails=Guardrails(deny_scopes=("vso.code",))),
            ActionKind.BLOCKED,
            ActionReason.FORBIDDEN,
            "blocked",
        ),
    ],
)
def test_action_by_hand_is_rotate_unless_something_forbids_it(
    pat: ManagedPat, policy: Policy, kind: ActionKind, reason: ActionReason, code: str | None
) -> None:
    database = MemoryDatabase()
    with database.begin() as unit:
        unit.inventory.add(pat)
    with database.read() as reading:
        [action] = plan_by_hand(reading, policy, [pat.name], NOW).actions
    assert (action.kind, action.reason) == (kind, reason)
    assert (action.failure and action.failure.code) == code
    times = (NOW + 30 * DAY, NOW + DAY) if kind is ActionKind.ROTATE else (None, None)
    assert (action.expires_at, action.retires_at) == times


def test_action_by_hand_follows_an_interrupted_rotation() -> None:
    database = MemoryDatabase()
    with database.begin() as unit:
        unit.inventory.add(PAT)
        claim = unit.claims.claim(PAT.name, "host/1", now=NOW, span=DAY)
        unit.journal.insert(make_rotation(name=PAT.name), claim)
    with database.read() as reading:
        [action] = plan_by_hand(reading, POLICY, [PAT.name], NOW).actions
        with pytest.raises(NotManagedError):
            plan_by_hand(reading, POLICY, ["other"], NOW)
    assert action.kind is ActionKind.RECOVER


def make_overlapping(until: timedelta = DAY, old_ends: timedelta = 10 * DAY) -> Rotation:
    """A rotation whose overlap ends after so long, and whose old PAT expires after so long."""
    rotation = replace(make_rotation(), state=RotationState.OVERLAPPING)
    return replace(rotation, overlap_until=NOW + until, predecessor_valid_to=NOW + old_ends)


def test_action_on_an_overlap_names_the_pat_its_rotation_and_the_end_of_the_old_one() -> None:
    running, over, expired = make_overlapping(), make_overlapping(-DAY), make_overlapping(DAY, -DAY)
    waits = plan(rotation=running)
    assert (waits.kind, waits.reason, waits.retires_at) == (ActionKind.WAIT, ActionReason.OVERLAPPING, NOW + DAY)
    failed = plan(WAITING, running)
    assert (failed.kind, failed.reason, failed.failure) == (ActionKind.WAIT, ActionReason.FAILED_BEFORE, FAILURE)
    for rotation, reason in ((over, ActionReason.OVERLAP_OVER), (expired, ActionReason.EXPIRED)):
        retires = plan(rotation=rotation)
        assert (retires.kind, retires.reason) == (ActionKind.RETIRE, reason)
        assert (retires.pat, retires.rotation, retires.retires_at) == (PAT, rotation, rotation.overlap_until)
    assert (waits.pat, waits.rotation, failed.pat, failed.rotation) == (PAT, running, WAITING, running)


def test_action_on_a_rotation_before_its_overlap_says_that_it_was_interrupted() -> None:
    for rotation in (make_rotation(), make_overlapping(9 * DAY)):  # a wrong clock dated the end of the latter
        action = plan(rotation=rotation)
        assert (action.kind, action.reason) == (ActionKind.RECOVER, ActionReason.INTERRUPTED)
        assert (action.pat, action.rotation) == (PAT, rotation)


def test_overlap_that_ends_now_waits_for_the_end_of_a_change_freeze() -> None:
    freeze = ChangeFreeze(NOW - DAY, NOW + DAY, "the year ends")
    policy = make_policy(replace(DUE, timetable=Timetable(freezes=(freeze,))))
    action = plan(rotation=make_overlapping(timedelta(0)), policy=policy)
    assert (action.kind, action.reason, action.held_until) == (ActionKind.WAIT, ActionReason.CHANGE_FREEZE, NOW + DAY)
