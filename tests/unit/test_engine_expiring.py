"""A PAT that expires and cannot be rotated is told before it does, whatever the reason, and until it is rotated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.rotations import FailureCleared
from rotator.domain.managed_pat import Failure, Hold, ManagedPatState
from rotator.domain.policy import Guardrails, RuleAction
from rotator.engine.auditing import load_events
from rotator.engine.keeping import pause, resume
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.standing import Standing
from rotator.engine.updating import make_change, update
from rotator.errors import DeniedError, SignInRequiredError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.policies import RULE, make_policy
from tests.support.records import NOW, make_managed_pat


def find_expiring(world: EngineWorld) -> str | None:
    """Why it is told that the PAT expires; None if it is not."""
    with world.database.read() as reading:
        found = reading.conditions.load_of([ConditionKind.PAT_EXPIRING])
    return found[0].code if found else None


def end_sign_in(world: EngineWorld) -> None:
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it was revoked", account=ACCOUNT)


def refuse_mints(world: EngineWorld) -> None:
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"


def forbid(world: EngineWorld) -> None:
    world.policy = make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",)))


def stop(world: EngineWorld) -> None:
    pause(world.make_run(), NAME)


CASES = {"paused": stop, "blocked": forbid}


@pytest.mark.parametrize("code", CASES)
def test_it_is_told_near_the_expiry_and_not_before(code: str) -> None:
    world = make_world()
    CASES[code](world)
    world.run()
    assert find_expiring(world) is None
    world.advance(days=2, hours=1)
    for _ in range(3):
        world.run()
        assert find_expiring(world) == code
        world.advance(hours=2)
    (told,) = load_events(world.database, AuditFilter(subject=NAME, event="expiry_foreseen"))
    assert told.entry.details["expires_at"] == world.record().valid_to.isoformat()


def test_one_that_waits_for_a_sign_in_is_told_with_that_alone() -> None:
    world = make_world()
    end_sign_in(world)
    world.advance(days=3)
    for _ in range(2):
        world.run()
        assert find_expiring(world) is None


def test_it_says_what_failed_and_ends_when_it_is_rotated() -> None:
    world = make_world()
    refuse_mints(world)
    world.run()
    world.advance(days=3)
    world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert find_expiring(world) == failure.code
    world.pats.organizations[ORGANIZATION].mint_error = None
    world.rotate(NAME)
    assert find_expiring(world) is None


def test_it_ends_when_nothing_is_in_the_way_any_more() -> None:
    world = make_world()
    world.advance(days=3)
    stop(world)
    world.run()
    assert find_expiring(world) == "paused"
    resume(world.make_run(), NAME)
    world.run()
    assert find_expiring(world) is None


def test_rule_that_leaves_it_to_a_person_is_told_from_its_own_time_on() -> None:
    world = make_world("early", policy=make_policy(replace(RULE, action=RuleAction.ALERT)))
    world.forget("early")
    world.add_managed(NAME, days_left=8)
    world.run()
    assert find_expiring(world) is None
    world.advance(days=1)
    world.run()
    assert find_expiring(world) == "replace_by_hand"


def test_nothing_is_told_of_one_that_is_merely_due() -> None:
    world = make_world()
    world.advance(days=3)
    world.run()
    assert (find_expiring(world), world.states()) == (None, ["overlapping"])


def lose(world: EngineWorld) -> None:
    world.pats.pats[world.record().authorization_id].revoked = True


def ignore(world: EngineWorld) -> None:
    world.policy = make_policy(replace(RULE, action=RuleAction.IGNORE))


@pytest.mark.parametrize("way", [lose, ignore])
def test_one_that_is_gone_or_ignored_is_not_told_to_expire(way: Callable[[EngineWorld], None]) -> None:
    world = make_world()
    world.advance(days=3)
    way(world)
    world.run()
    world.run()
    assert find_expiring(world) is None


def test_pat_for_all_organizations_is_told_when_it_is_found_and_not_only_when_it_is_due() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=25)
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, target_accounts=None)
    world.run()
    world.run()
    with world.database.read() as reading:
        told = {(found.subject, found.code) for found in reading.conditions.load_of([ConditionKind.ROTATION_BLOCKED])}
    assert told == {(NAME, "all_organizations")}


@pytest.mark.parametrize("change", [None, stop])
def test_it_is_not_called_averted_because_an_organization_cannot_be_asked(
    change: Callable[[EngineWorld], None] | None,
) -> None:
    """It lasts through the outage, and also when what was in the way of it ends meanwhile."""
    world = make_world(policy=make_policy(RULE if change else replace(RULE, action=RuleAction.ALERT)))
    world.advance(days=4)
    if change is not None:
        change(world)
    world.run()
    code = find_expiring(world)
    assert code == ("paused" if change else "replace_by_hand")
    denied = DeniedError("no access", service="azure_devops", operation="list", status=403, fix="Ask.")
    world.pats.fail("fetch_pats", denied, times=1000)
    for _ in range(3):
        world.run()
        assert find_expiring(world) == code
        world.advance(hours=1)
    if change is not None:
        resume(world.make_run(), NAME)
        world.run()
        assert find_expiring(world) == code
    assert world.events().count("expiry_averted succeeded") == 0
    world.heal()
    if change is not None:
        world.advance(hours=7)
        world.run()
        assert find_expiring(world) is None


def test_clone_that_expires_first_is_told_while_everything_is_paused() -> None:
    """The old PAT outlives it, so its rotation stays open."""
    world = make_world("other")
    world.forget("other")
    world.add_managed(NAME, days_left=29)
    change = make_change(NAME, display_name=None, scopes=(), lifetime=timedelta(days=7))
    world.watch(lambda: update(world.make_run(), change))
    assert world.states() == ["overlapping"]
    pause_all(world.make_run())
    world.advance(days=6)
    world.run()
    assert find_expiring(world) is None
    world.advance(hours=8)
    world.run()
    assert find_expiring(world) == "paused"
    resume_all(world.make_run())
    world.run()
    assert find_expiring(world) is None


def test_trouble_is_over_when_nothing_failed_and_lasts_while_a_rotation_of_a_paused_pat_is_open() -> None:
    pat, policy = make_managed_pat(), make_policy(RULE)
    fine = Standing(pat, True, policy.decide(pat, now=NOW, longest=None))
    assert fine.find_end() == FailureCleared()
    failed = replace(pat, state=ManagedPatState.PAUSED, last_failure=Failure("a code", "it failed"))
    assert replace(fine, pat=failed).find_end() is None
    assert replace(fine, pat=failed, is_rotating=False).find_end() == FailureCleared()
    assert replace(fine, pat=replace(failed, hold=Hold.FOREIGN_WRITE), is_rotating=False).find_end() is None
