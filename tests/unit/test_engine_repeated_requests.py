"""The old PAT is not current again while a DELETE of it may still take effect, whatever state the rotation is in."""

from __future__ import annotations

from contextlib import suppress

from rotator.engine.run import work_on_due
from rotator.errors import RotatorError
from tests.support.engine_scenarios import make_given_up_store, make_overlapping


def test_old_pat_is_not_current_again_soon_after_the_overlap_was_begun_anew_in_retiring() -> None:
    world = make_given_up_store()
    world.run()
    world.advance(hours=25)
    old = world.rotations()[-1].predecessor_id
    world.pats.postpone_revoke()
    with suppress(RotatorError):
        world.run()
    assert world.states()[-1] == "retiring"
    world.advance(minutes=5, seconds=10)
    world.secrets.apply_late()
    world.watch(lambda: work_on_due(world.make_run()))
    assert world.states()[-1] == "overlapping"
    clone = world.rotations()[-1].new_authorization_id or ""
    world.pats.pats[clone].revoked = True
    world.advance(minutes=1)
    with suppress(RotatorError):
        world.run()
    returned = world.record().authorization_id
    world.pats.apply_late()
    assert returned != old, (world.states(), world.events()[-10:])


def test_old_pat_is_not_current_again_soon_after_a_repeated_delete_without_an_answer() -> None:
    world = make_overlapping()
    old, lost = world.live_ids()
    world.pats.fail("revoke")
    with suppress(RotatorError):
        world.run()
    assert world.states() == ["retiring"]
    world.advance(minutes=30)
    world.pats.postpone_revoke()
    with suppress(RotatorError):
        world.run()
    assert world.states() == ["retiring"]
    assert world.revoked_ids() == [old, old]
    world.pats.pats[lost].revoked = True
    world.advance(minutes=2)
    with suppress(RotatorError):
        world.run()
    returned = world.record().authorization_id
    world.pats.apply_late()
    assert returned != old, (world.states(), world.events()[-10:])
