"""A server that grants short lives: believed for a while, tried again, and no PAT expires for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.condition import ConditionKind
from rotator.domain.threshold import Threshold
from rotator.engine.limits import forget_limits
from rotator.engine.losses import is_explained
from rotator.engine.report import OutcomeKind
from tests.support.engine import ACCOUNT, LIFETIME, NAME, ORGANIZATION, EngineWorld, codes_of, make_world, names_of
from tests.support.policies import RULE, make_policy

DAY = timedelta(days=1)
CLAMPED = """{
    "patToken": {"displayName": "npm-feed", "scope": "vso.packaging", "validFrom": "2026-11-20T09:00:00Z",
                 "validTo": "2026-11-27T09:00:00Z", "authorizationId": "00000006-1111-4222-8333-444444444444"},
    "patTokenError": "none"
}"""
"""30 days were asked for, and 7 are granted."""


def make_clamping_world(*, days_left: float, longest: float, before: float) -> EngineWorld:
    """A server that grants so many days, and a rule that renews so many days before the end."""
    rule = replace(RULE, rotate_before=Threshold(duration=before * DAY))
    world = make_world("other", policy=make_policy(rule))
    world.add_managed(NAME, days_left=days_left)
    world.forget("other")
    world.pats.organizations[ORGANIZATION].max_lifetime = longest * DAY
    return world


def list_lasting(world: EngineWorld) -> list[ConditionKind]:
    """What is wrong with `npm-feed` now."""
    with world.database.read() as reading:
        return [condition.kind for condition in reading.conditions.load() if condition.subject == NAME]


def live_on(world: EngineWorld, days: float) -> None:
    """Hourly runs."""
    for _ in range(round(days * 24)):
        world.run()
        world.advance(hours=1)


def test_clamped_answer_is_accepted_and_dated_when_it_outlives_the_threshold() -> None:
    answer = json.loads(CLAMPED)["patToken"]
    granted = datetime.fromisoformat(answer["validTo"]) - datetime.fromisoformat(answer["validFrom"])
    world = make_clamping_world(days_left=4, longest=granted / DAY, before=5)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    with world.database.read() as reading:
        limit = reading.limits.load()[ACCOUNT, ORGANIZATION]
    assert (limit.longest, limit.learned_at) == (granted, world.clock.now())
    assert not world.record().short_lived


def test_others_are_told_of_too_when_what_one_of_them_taught_stands_in_their_way() -> None:
    """Long before they are due: a person has time to change the rule."""
    world = make_clamping_world(days_left=11, longest=7, before=12)
    world.add_managed("later", days_left=20)
    world.run()
    world.run()
    with world.database.read() as reading:
        assert (ConditionKind.ROTATION_BLOCKED, "later") in {(c.kind, c.subject) for c in reading.conditions.load()}


def test_full_lifetime_is_asked_for_again_when_the_limit_is_as_old_as_it_allows() -> None:
    """A maximum that held for an hour is not believed for ever."""
    world = make_clamping_world(days_left=11, longest=7, before=12)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["lifetime_clamped"]
    assert [is_explained(rotation) for rotation in world.rotations()] == [True]
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    live_on(world, 6)
    assert world.count("mint") == 1
    live_on(world, 1.5)
    assert world.states() == ["abandoned", "overlapping"]
    assert world.record().lifetime > 29 * DAY
    with world.database.read() as reading:
        assert reading.limits.load() == {}


def test_short_clone_is_taken_and_told_when_the_pat_would_expire_without() -> None:
    world = make_clamping_world(days_left=8, longest=7, before=10)
    live_on(world, 6)
    assert world.count("mint") == 2
    record = world.record()
    assert record.short_lived
    assert record.lifetime == 7 * DAY
    assert ConditionKind.LIFETIME_SHORTENED in list_lasting(world)
    assert world.events().count("lifetime_shortened failed") == 1


def test_short_clone_is_due_at_two_thirds_of_its_life_and_no_sooner() -> None:
    world = make_clamping_world(days_left=2, longest=6, before=10)
    world.run()
    assert world.record().short_lived
    live_on(world, 4)
    assert world.count("mint") == 1
    live_on(world, 0.1)
    assert world.count("mint") == 2
    world.check_served()


def test_promise_holds_for_months_when_only_short_lives_are_granted() -> None:
    world = make_clamping_world(days_left=5, longest=7, before=10)
    for _ in range(60 * 6):
        world.run()
        assert world.is_live()
        world.advance(hours=4)
    assert 10 <= world.count("mint") <= 16


def test_overlap_ends_before_the_next_rotation_when_the_clone_lives_hours() -> None:
    world = make_clamping_world(days_left=0.2, longest=0.5, before=10)
    for _ in range(48):
        world.run()
        assert world.is_live()
        world.advance(minutes=30)
    assert world.states().count("completed") >= 2


def test_full_life_is_told_when_the_server_grants_it_again() -> None:
    world = make_clamping_world(days_left=2, longest=7, before=10)
    world.run()
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    live_on(world, 11)
    assert not world.record().short_lived
    assert world.record().lifetime > 20 * DAY
    assert ConditionKind.LIFETIME_SHORTENED not in list_lasting(world)
    assert "lifetime_restored succeeded" in world.events()


def test_person_may_rotate_when_a_limit_was_learned_and_no_longer_holds() -> None:
    world = make_clamping_world(days_left=9, longest=7, before=10)
    world.run()
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]


def test_person_gets_a_short_clone_only_when_it_outlives_the_old_pat() -> None:
    world = make_clamping_world(days_left=9, longest=7, before=10)
    assert codes_of(world.rotate(NAME), OutcomeKind.BLOCKED) == ["lifetime_clamped"]
    world.advance(days=3)
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    assert world.record().short_lived


def test_limits_are_forgotten_and_told_when_a_person_says_so() -> None:
    world = make_clamping_world(days_left=9, longest=7, before=10)
    world.run()
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    assert forget_limits(world.make_run(), organization="fabrikam") == {}
    assert forget_limits(world.make_run(), account="release-bot") == {}
    forgotten = forget_limits(world.make_run(), ACCOUNT, ORGANIZATION)
    assert [limit.longest for limit in forgotten.values()] == [7 * DAY]
    assert world.events(f"{ACCOUNT}/{ORGANIZATION}") == ["limit_forgotten succeeded"]
    assert forget_limits(world.make_run()) == {}
    world.advance(hours=7)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_lifetime_that_a_wrong_clock_learned_in_the_future_is_not_believed() -> None:
    world = make_clamping_world(days_left=4000, longest=7, before=4100)
    world.advance(days=3650)
    world.run()
    world.advance(days=-3650)
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    live_on(world, 1)
    assert world.record().lifetime >= LIFETIME - DAY or world.states()[-1] in ("overlapping", "completed")
