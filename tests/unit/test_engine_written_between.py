"""What people, tools and our own late writes put into a secret before a DELETE, or between two of them."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from rotator.domain.rotation import RotationState
from rotator.engine.report import OutcomeKind
from rotator.engine.run import work_on_due
from rotator.errors import RotatorError
from tests.support.engine import NAME, OVERLAP, codes_of, make_world
from tests.support.engine_scenarios import make_given_up_store, make_overlapping


@pytest.mark.parametrize("later", [4, 24])
def test_pat_that_was_put_back_in_the_overlap_lives_for_an_overlap_after_consumers_could_read_it(later: int) -> None:
    world = make_overlapping(hours=20)  # the overlap is 24 hours
    ours, first = world.secrets.versions_of(world.location())[:2]
    old = world.rotations()[-1].predecessor_id
    # 20 hours later a tool rolls the secret back: consumers read the old PAT's value, and may keep it for 24 hours.
    world.secrets.write_foreign(world.location(), first.value.reveal(), tags=dict(first.version.tags))
    world.advance(hours=1)
    # And it rolls it forward again: our value, with our tags.
    world.secrets.write_foreign(world.location(), ours.value.reveal(), tags=dict(ours.version.tags))
    world.advance(hours=later)
    report = world.run()
    if later == 4:
        assert old in world.live_ids(), world.events()
        assert codes_of(report, OutcomeKind.FAILED) == ["overlap_restarted"]
        rotation, newest = world.rotations()[-1], world.latest().version.version
        assert (rotation.state, rotation.overlap_until) == (RotationState.OVERLAPPING, world.clock.now() + OVERLAP)
        assert rotation.secret_version == world.record().secret_version == newest
        world.advance(hours=23)
        world.run()
        assert old in world.live_ids()
        world.advance(hours=2)
        world.run()
    assert (world.states()[-1], old in world.live_ids()) == ("completed", False)
    world.check_served()


def test_repeated_delete_of_a_given_up_clone_spares_what_consumers_read_as_the_first_one_does() -> None:
    """The first DELETE asks `_leave_if_untagged`; one that is sent again does not."""
    world = make_given_up_store()
    world.pats.ignores_revoke = lambda _: True  # the DELETE of the clone is answered, and does nothing
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    clone = world.rotations()[0].new_authorization_id or ""
    world.pats.ignores_revoke = lambda _: False
    world.secrets.apply_late()  # its write takes effect, and a tool sets its own tags, which takes ours off
    world.secrets.replace_tags(world.location(), {"owner": "platform"})
    assert world.is_live()
    world.advance(minutes=5)
    world.run()
    assert clone in world.live_ids(), "consumers read it"
    assert world.is_live()


def test_overlap_is_begun_anew_as_it_is_said_when_a_late_write_is_undone_while_retiring() -> None:
    world = make_given_up_store()
    world.run()
    world.advance(hours=25)
    old = world.rotations()[-1].predecessor_id
    # The late write takes effect after this run looked, and the DELETE is lost on the way.
    world.pats.fail("revoke")
    world.run()
    assert world.states()[-1] == "retiring"
    world.advance(minutes=6)
    world.secrets.apply_late()
    run = world.make_run()
    world.watch(lambda: work_on_due(run))  # the daemon's run of each minute, which looks for no late writes first
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "overlap_restarted"
    assert "the overlap starts again" in failure.message
    world.advance(minutes=30)
    world.watch(lambda: work_on_due(world.make_run()))
    assert old in world.live_ids(), f"{failure.message}: {failure.fix}"


def test_what_a_person_wrote_is_reported_when_a_late_write_covers_it_before_a_run_looks() -> None:
    """`docs/promise.md`: if somebody else has written the secret since, nothing is revoked, and it is reported."""
    world = make_given_up_store()
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    old = world.rotations()[-1].predecessor_id
    theirs = world.add_lookalike(world.clock.now() + timedelta(days=20), "theirs")
    world.advance(hours=1)
    world.secrets.write_foreign(world.location(), theirs.value)  # consumers are to read this from now on
    world.advance(minutes=1)
    world.secrets.apply_late()
    for _ in range(12):
        world.advance(hours=6)
        world.run()
    is_told = world.record().blocked or world.record().last_failure is not None
    served = world.latest().value.reveal()
    assert is_told or served == theirs.value, world.events()[-12:]
    assert old in world.live_ids() or is_told


def test_late_write_is_undone_when_its_rotation_failed_after_its_clone_was_to_be_revoked() -> None:
    world = make_world()
    old = world.record().authorization_id
    for _ in range(2):
        world.secrets.postpone_store()
    world.secrets.fail("store", skip=2, times=30)
    world.run()
    world.heal()
    assert world.states() == ["storing"]
    landing = list(world.secrets._late)
    world.advance(minutes=11)
    world.pats.fail("revoke", after_effect=True)  # the clone is given up; its DELETE has its effect, the answer is lost
    world.run()
    assert world.states()[0] == "abandoning"
    clone = world.rotations()[0].new_authorization_id
    assert clone not in world.live_ids()
    # The first write takes effect, and the old PAT is revoked by somebody: a person has to make a new one.
    world.secrets._late = landing[:1]
    world.secrets.apply_late()
    world.pats.pats[old].revoked = True
    world.advance(minutes=1)
    for _ in range(2):
        with suppress(RotatorError):
            world.rotate(NAME)
        world.advance(minutes=1)
    assert world.is_live()
    said = " ".join(r.failure.message for r in world.rotations() if r.failure)
    # The second write takes effect over the new value.
    world.secrets._late = landing[1:]
    world.secrets.apply_late()
    for _ in range(3):
        world.advance(hours=1)
        world.run()
    assert world.is_live(), "consumers read the value of a clone that was revoked, and no run puts the new one back"
    assert "the clone was not revoked" not in said


@pytest.mark.parametrize("text", ["not a pat", "A" * 76 + "AZDO" + "A" * 4])
def test_consumers_get_a_live_value_back_when_what_somebody_wrote_before_the_late_write_does_not_sign_in(
    text: str,
) -> None:
    world = make_given_up_store()
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    world.advance(minutes=1)
    world.secrets.write_foreign(world.location(), text)
    world.advance(minutes=1)
    world.secrets.apply_late()
    for _ in range(8):
        world.advance(hours=6)
        world.run()
    assert world.is_live(), (world.record().last_failure, world.events()[-6:], world.states())
