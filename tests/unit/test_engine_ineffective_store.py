"""A write to the vault that is answered as done and has no effect: nobody else wrote, so it is tried again."""

from __future__ import annotations

import pytest

from rotator.engine.report import OutcomeKind
from tests.support.engine import NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_late_store

SETTLE = {"minutes": 11}


def ignore_first(world: EngineWorld, count: int) -> None:
    """So many writes from now on are answered as done and do nothing."""
    left = iter([True] * count)
    world.secrets.ignores_store = lambda: next(left, False)


@pytest.mark.parametrize("is_absent", [False, True])
def test_value_is_written_again_when_the_first_writes_have_no_effect(is_absent: bool) -> None:
    world = make_world()
    if is_absent:
        world.secrets._secrets.clear()
    ignore_first(world, 2)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.count("store") == 3
    assert world.events().count("secret_write_ignored unknown") == 2
    assert world.rotations()[0].secret_version == world.latest().version.version
    world.finish()


def test_clone_is_given_up_and_nothing_is_frozen_when_no_write_has_an_effect() -> None:
    world = make_world()
    before = world.latest().version.version
    world.secrets.ignores_store = lambda: True
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED, OutcomeKind.BLOCKED) == ["secret_write_ignored"]
    assert (world.states(), world.latest().version.version) == (["storing"], before)
    assert not world.record().blocked
    lost = world.live_ids()[1]
    world.heal()
    world.advance(**SETTLE)
    world.run()
    assert (world.states(), world.revoked_ids()) == (["abandoned", "overlapping"], [lost])
    world.finish()


def test_committed_value_is_written_again_when_putting_it_back_has_no_effect() -> None:
    world = make_late_store()
    ignore_first(world, 2)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    world.check_served()
    assert world.events()[-2:] == ["restore_started intended", "secret_restored succeeded"]
    assert [attempt.tried_store for attempt in world.restores()] == [True, True, False]
    assert world.record().secret_version == world.rotations()[-1].secret_version == world.latest().version.version
    world.finish()


def test_putting_a_value_back_is_no_success_when_no_write_of_it_has_an_effect() -> None:
    world = make_late_store()
    committed = world.record().secret_version
    world.secrets.ignores_store = lambda: True
    world.advance(hours=25)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == ["secret_write_ignored"]
    assert "secret_restored succeeded" not in world.events()
    assert world.record().secret_version == committed
    assert all(attempt.may_write_late for attempt in world.restores())
    assert world.count("revoke") == 1
    world.heal()
    world.advance(minutes=1)
    world.run()
    world.check_served()
    world.finish()
