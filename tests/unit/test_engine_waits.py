"""No wait outlasts a PAT: back-off, the brake on lost clones, settling; and what was dated in the future."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.policy import Guardrails
from rotator.engine.report import OutcomeKind
from rotator.errors import TransientError, VerificationError
from tests.support.engine import NAME, EngineWorld, make_world, names_of
from tests.support.policies import RULE, make_policy


def make_world_with(days_left: float) -> EngineWorld:
    """A world whose `npm-feed` has so many days left."""
    world = make_world("other")
    world.add_managed(NAME, days_left=days_left)
    return world


def run_for(world: EngineWorld, hours: float, *, every: float = 5) -> None:
    """Runs some minutes apart."""
    for _ in range(round(hours * 60 / every)):
        world.run()
        world.advance(minutes=every)


def refuse_probes(world: EngineWorld) -> None:
    """No new PAT authenticates."""
    error = VerificationError("the probe was refused", code="verification_failed")
    world.pats.fail("verify", error, times=100_000)


def break_vault(world: EngineWorld) -> None:
    """The vault does not answer."""
    error = TransientError("it is too busy", service="key_vault", operation="prove_writable", status=503)
    world.secrets.fail("prove_writable", error, times=100_000)


def list_lasting(world: EngineWorld) -> list[ConditionKind]:
    """What is wrong with `npm-feed` now."""
    with world.database.read() as reading:
        return [condition.kind for condition in reading.conditions.load() if condition.subject == NAME]


def test_pat_is_rotated_before_its_end_when_its_vault_healed_long_ago() -> None:
    world = make_world_with(2)
    break_vault(world)
    run_for(world, 45)
    world.heal()
    run_for(world, 1.5)
    assert world.states(NAME)[-1] == "overlapping"
    assert world.clock.now() < world.rotations(NAME)[-1].predecessor_valid_to


@pytest.mark.parametrize("minutes", [4.0, 16.0, 240.0])
def test_failed_pat_is_tried_again_before_its_end_when_little_time_is_left(minutes: float) -> None:
    world = make_world_with(minutes / 1440)
    world.pats.fail("fetch_pat", TransientError("busy", service="azure_devops", operation="fetch_pat"), times=20)
    for _ in range(9):
        world.run()
        retry_at = world.record(NAME).retry_at
        assert retry_at is not None
        world.clock.advance(retry_at - world.clock.now())
        if world.clock.now() + timedelta(minutes=4) > world.record(NAME).valid_to:
            break
    assert world.clock.now() < world.record(NAME).valid_to


def test_expired_pat_is_tried_again_soon_when_it_has_just_expired() -> None:
    world = make_world_with(1)
    break_vault(world)
    run_for(world, 25)
    world.heal()
    run_for(world, 0.25)
    assert world.states(NAME)[-1] == "completed"


def test_brake_yields_when_the_pat_would_expire_meanwhile() -> None:
    world = make_world_with(0.5)
    refuse_probes(world)
    run_for(world, 6)
    assert 3 < world.count("mint") < 30
    world.heal()
    run_for(world, 4)
    assert world.states(NAME)[-1] == "overlapping"


def test_losses_are_told_from_the_second_on_and_forgotten_when_a_rotation_succeeds() -> None:
    world = make_world()
    refuse_probes(world)
    world.run()
    assert ConditionKind.CLONES_ABANDONED not in list_lasting(world)
    world.advance(hours=1)
    world.run()
    assert ConditionKind.CLONES_ABANDONED in list_lasting(world)
    assert world.events().count("clones_abandoned failed") == 1
    told = [line for name, line in world.told if name == "clones_abandoned"]
    assert told == [{"name": NAME, "count": 2, "code": "verification_failed"}]
    world.heal()
    world.advance(hours=1)
    world.run()
    assert world.states()[-1] == "overlapping"
    assert list_lasting(world) == []


def test_attempts_go_on_when_the_lost_clones_are_explained_by_runs_that_ended() -> None:
    world = make_world()
    for _ in range(3):
        world.run_and_die(after="minted")
        world.advance(hours=1)
    world.run()
    assert world.codes() == ["value_lost"] * 3
    assert world.states()[-1] == "overlapping"
    assert "clones_abandoned failed" not in world.events()


def test_attempts_back_off_when_runs_die_again_and_again() -> None:
    """A process that dies at one point, and is started at once each time, does not mint without end."""
    world = make_world()
    for _ in range(4):
        world.run_and_die(after="minted")
        world.advance(minutes=6)
    world.run()
    assert world.count("mint") == 4
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "too_many_attempts"
    world.advance(minutes=6)
    world.run()
    assert world.states()[-1] == "overlapping"


def test_lost_mint_settles_sooner_when_the_pat_is_about_to_expire() -> None:
    world = make_world_with(20 / 1440)
    world.pats.postpone_mint()
    world.run()
    world.advance(minutes=4, seconds=59)
    assert NAME in names_of(world.run(), OutcomeKind.SETTLING)
    world.advance(seconds=1)
    world.run()
    assert world.states(NAME) == ["abandoned", "overlapping"]
    world.pats.apply_late()
    world.run()
    world.finish(NAME)


def test_lost_store_gets_its_whole_time_when_the_pat_is_about_to_expire() -> None:
    """If it took effect after its clone was revoked, consumers would read a dead PAT."""
    world = make_world_with(30 / 1440)
    world.secrets.fail("store", times=30)
    world.run()
    world.advance(minutes=9)
    assert NAME in names_of(world.run(), OutcomeKind.SETTLING)


def test_time_to_try_again_does_not_bind_when_no_failure_can_have_set_it() -> None:
    world = make_world()
    world.advance(days=3650)
    world.pats.fail("fetch_pat", TransientError("busy", service="azure_devops", operation="fetch_pat"))
    world.run()
    world.advance(days=-3650)
    record = world.record()
    assert record.retry_at is not None
    assert record.retry_at > record.valid_to
    world.run()
    assert world.states() == ["overlapping"]


def test_mints_that_were_dated_in_the_future_take_no_place() -> None:
    world = make_world("a", "b", policy=make_policy(RULE, guardrails=Guardrails(max_rotations_per_hour=1)))
    world.advance(days=3650)
    world.rotate("a")
    world.advance(days=-3650)
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["b"]
