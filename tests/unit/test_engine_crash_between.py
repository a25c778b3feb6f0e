"""A crash between the commits of a mend."""

from __future__ import annotations

from contextlib import suppress

import pytest

from rotator.engine.run import work_on_due
from rotator.errors import RotatorError
from tests.support.engine_restores import lose
from tests.support.engine_scenarios import make_given_up_store
from tests.unit.test_engine_rebuilding import do
from tests.unit.test_engine_vanished import NEW, hide, look_for_long, make_adopted


@pytest.mark.parametrize("dies", [False, True])
def test_overlap_begins_anew_when_the_run_that_put_the_value_back_died_in_between(dies: bool) -> None:
    world = make_given_up_store()
    world.run()
    old = world.rotations()[-1].predecessor_id
    world.advance(hours=20)
    world.secrets.apply_late()
    if dies:
        world.run_and_die(after="secret_restored")
        world.advance(minutes=6)
        world.run()
    else:
        world.run()
    world.advance(hours=5)
    world.run()
    assert old in world.live_ids(), world.events()[-6:]


def test_overlap_begins_anew_when_the_run_died_in_retiring() -> None:
    world = make_given_up_store()
    world.run()
    world.advance(hours=25)
    old = world.rotations()[-1].predecessor_id
    world.pats.fail("revoke")
    with suppress(RotatorError):
        world.run()
    assert world.states()[-1] == "retiring"
    world.advance(minutes=6)
    world.secrets.apply_late()
    world.run_and_die(after="secret_restored")
    world.advance(minutes=6)
    with suppress(RotatorError):
        world.watch(lambda: work_on_due(world.make_run()))
    assert old in world.live_ids(), world.events()[-6:]


def test_pat_that_was_left_behind_is_not_revoked_after_the_database_was_lost() -> None:
    """`docs/promise.md`: if it lives, it is left behind and reported; revoking it is up to a person."""
    world, current = make_adopted("A" * 76 + "AZDO" + "A" * 4)
    hide(world, current)
    look_for_long(world)
    world.pats.change_listed = None
    world.run()
    assert world.rotations(NEW)[0].keeps_predecessor
    assert world.events(current) == ["pat_left_behind unknown"]
    lose(world)
    do(world)
    for _ in range(4):
        world.advance(hours=13)
        world.run()
    assert current in world.live_ids(NEW), (world.states(NEW), world.events(NEW))
