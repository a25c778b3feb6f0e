"""A write to the vault without an answer: found by its tag, given up, or undone when it takes effect late."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import ManagedPatState
from rotator.domain.rotation import RotationEnding
from rotator.domain.words import say_moment
from rotator.engine.forgotten import close_forgotten
from rotator.engine.keeping import forget, pause, revoke_current, revoke_previous
from rotator.engine.left_behind import load_left_behind, revoke_left_behind
from rotator.engine.listing import ServerView
from rotator.engine.reconciling import find_late_writes, look
from rotator.engine.records import LATE_STORE_SPAN
from rotator.engine.report import OutcomeKind
from rotator.engine.status import PatState
from rotator.engine.tags import AUTHORIZATION_TAG, RESTORED_TAG
from rotator.errors import ClockSkewError, DeniedError, RotatorError, UsageError, VerificationError
from tests.support.engine import ACCOUNT, MUTATIONS, NAME, ORGANIZATION, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import (
    make_busy,
    make_frozen_store,
    make_given_up_store,
    make_late_store,
    make_overlapping,
    set_back_while_revoking,
)
from tests.support.policies import RULE, make_policy

LEASE, SETTLE = {"minutes": 6}, {"minutes": 11}
"""Spans that outlast a dead run's claim, and the time in which an unanswered request may still take effect."""


def lose_every_store(world: EngineWorld) -> None:
    """A run whose writes to the vault are never answered and never happen; its rotation stays `storing`."""
    world.secrets.fail("store", times=30)
    world.run()
    world.heal()
    assert world.states()[-1] == "storing"


def test_store_is_found_by_its_tag_when_its_answer_was_lost() -> None:
    world = make_world()
    world.secrets.fail("store", after_effect=True)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.count("store") == 1
    world.finish()


def test_value_is_held_and_written_again_when_the_vault_is_ill_for_a_while() -> None:
    world = make_world()
    world.secrets.fail("store", make_busy("store", "key_vault"), times=4)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.clock.slept == [1, 2, 4, 8]
    world.finish()


def test_store_is_found_later_when_the_vault_could_not_be_asked_at_first() -> None:
    world = make_world()
    world.secrets.fail("store", after_effect=True, times=30)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), skip=1, times=30)
    world.run()
    assert world.states() == ["storing"]
    world.heal()
    world.run()
    assert world.states() == ["overlapping"]
    world.finish()


def test_settle_time_counts_from_the_last_of_several_writes() -> None:
    world = make_world()
    began = world.clock.now()
    lose_every_store(world)
    assert world.count("store") == 7
    assert world.rotations()[0].sent_at == world.clock.now() > began


def test_clone_is_given_up_when_its_write_did_not_land_in_the_settle_time() -> None:
    world = make_world()
    lose_every_store(world)
    lost = world.live_ids()[1]
    world.advance(minutes=8)
    world.run()
    assert world.states() == ["storing"]
    assert world.revoked_ids() == []
    world.advance(minutes=3)
    world.run()
    assert world.revoked_ids() == [lost]
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


def test_committed_value_is_put_back_and_the_overlap_restarted_when_a_given_up_write_lands() -> None:
    world = make_late_store()
    world.advance(hours=20)
    world.run()
    world.check_served()
    assert world.events()[-2:] == ["restore_started intended", "secret_restored succeeded"]
    last = world.rotations()[-1]
    assert last.overlap_until == world.clock.now() + last.overlap
    assert last.secret_version == world.record().secret_version == world.latest().version.version
    assert world.count("revoke") == 1
    world.finish()


def test_committed_value_is_put_back_when_the_write_lands_right_before_the_old_pat_is_retired() -> None:
    world = make_late_store()
    world.advance(hours=25)
    world.run()
    world.check_served()
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


@pytest.mark.parametrize(("side", "mark"), [("after", "restore_started"), ("before", "secret_restored")])
def test_committed_value_is_put_back_when_that_is_killed_too(side: str, mark: str) -> None:
    world = make_late_store()
    world.run_and_die(**{side: mark})
    world.advance(**LEASE)
    world.run()
    world.check_served()
    world.finish()


def test_committed_value_is_put_back_before_the_clone_is_revoked_when_its_write_lands_in_between() -> None:
    world = make_given_up_store()
    world.run_and_die(after="abandoning")
    world.secrets.apply_late()
    world.advance(**LEASE)
    restored: list[bool] = []
    world.database.interrupts["abandoned"] = lambda: restored.append(world.is_live())
    world.run()
    assert restored == [True]
    world.check_served()
    world.finish()


def make_refused_probe() -> VerificationError:
    """What a value that signs in is answered with for a while."""
    return VerificationError("the probe was refused", code="verification_failed")


def test_nothing_is_frozen_when_a_late_write_cannot_be_undone_yet() -> None:
    """The late write is ours: nobody else wrote, and the next run that can prove the committed value puts it back."""
    world = make_late_store()
    world.pats.fail("verify", make_refused_probe(), times=30)
    world.advance(hours=25)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == ["late_write_kept"]
    assert world.states() == ["abandoned", "overlapping"]
    assert world.count("revoke") == 1
    world.heal()
    world.advance(hours=1)
    world.run()
    world.check_served()
    world.finish()


def test_status_tells_of_a_late_write_that_cannot_be_undone_yet_until_it_is() -> None:
    """Consumers read a dead PAT: nobody may have to read the log to learn that."""
    world = make_late_store()
    for _ in range(2):
        world.pats.fail("verify", make_refused_probe(), times=30)
        world.advance(hours=1)
        assert codes_of(world.run(), OutcomeKind.FAILED) == ["late_write_kept"]
        (row,) = [row for row in world.show_status() if row.name == NAME]
        assert (row.state, row.last_error and row.last_error.code) == (PatState.FAILED, "late_write_kept")
        world.heal()
    assert world.events().count("failure_cleared succeeded") == 0
    world.advance(minutes=1)
    world.run()
    world.check_served()
    assert world.record().last_failure is None
    world.finish()


def test_old_pat_is_current_again_when_a_late_write_lands_over_a_clone_that_was_revoked_by_hand() -> None:
    world = make_late_store()
    old = world.rotations()[-1].predecessor_id
    world.pats.pats[world.record().authorization_id].revoked = True
    world.advance(hours=1)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == []
    assert world.states()[:2] == ["abandoned", "failed"]
    assert (world.rotations()[1].ending, world.rotations()[2].predecessor_id) == (RotationEnding.CLONE_LOST, old)
    world.check_served()
    world.finish()


@pytest.mark.parametrize("dies", ["after", "not", "before"])
def test_new_value_is_put_back_when_an_older_write_lands_before_it_was_read_back(dies: str) -> None:
    """Not the old one, and nothing is frozen: neither version was written by somebody else."""
    world = make_given_up_store()
    world.finish()
    world.advance(days=25)
    if dies == "not":
        world.database.interrupts["stored"] = lambda: check(world.secrets.apply_late() == 1)
    else:
        world.run_and_die(**{dies: "stored"})
        assert world.secrets.apply_late() == 1
        world.advance(**LEASE)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert world.states() == ["abandoned", "completed", "overlapping"]
    world.check_served()
    world.finish()


def test_late_write_over_a_stored_value_is_told_while_it_cannot_be_undone() -> None:
    """A dead PAT is served before the new one was read back: nothing is frozen, and it is tried again."""
    world = make_given_up_store()
    world.finish()
    world.advance(days=25)
    world.run_and_die(after="stored")
    assert world.secrets.apply_late() == 1
    world.advance(**LEASE)
    world.pats.fail("verify", make_refused_probe(), times=30)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == ["late_write_kept"]
    assert world.states() == ["abandoned", "completed", "stored"]
    world.heal()
    world.advance(hours=1)
    world.run()
    world.check_served()
    world.finish()


def check(holds: bool) -> None:
    """Fail unless it holds."""
    assert holds


def store_twice(world: EngineWorld) -> None:
    """A run whose first write to the vault is not answered and takes effect later; the second is answered."""
    world.secrets.postpone_store()
    world.run()
    assert world.states()[-1] == "overlapping"


def test_committed_value_is_put_back_when_the_write_of_a_clone_that_was_revoked_by_hand_lands_once_more() -> None:
    world = make_world()
    store_twice(world)
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    assert world.states() == ["failed", "overlapping"]
    world.finish()
    world.secrets.apply_late()
    assert not world.is_live()
    world.run()
    world.check_served()
    world.finish()


def test_committed_value_is_put_back_when_the_write_of_an_older_rotation_lands_once_more() -> None:
    world = make_world()
    store_twice(world)
    world.advance(hours=25)
    world.run()
    world.rotate(NAME)
    world.advance(hours=25)
    world.run()
    assert world.states() == ["completed", "completed"]
    world.secrets.apply_late()
    assert not world.is_live()
    world.run()
    world.check_served()
    world.finish()


def test_late_write_is_shown_and_left_alone_when_somebody_only_looks() -> None:
    """A vault that cannot be read is told, and takes nothing else down."""
    world = make_late_store()
    world.add_managed("another", days_left=29)
    run = world.make_run()
    found, before, calls = look(run, ServerView(run)), world.database.dump(), len(world.timeline)
    assert find_late_writes(run, found) == (NAME,)
    assert world.database.dump() == before
    assert not MUTATIONS & set(world.timeline[calls:])
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"))
    assert find_late_writes(run, found) == ()
    assert {pair: error.code for pair, error in found.down.items()} == {(ACCOUNT, ORGANIZATION): "transient"}
    world.run()
    assert find_late_writes(run, found) == ()
    found.late_stores.clear()
    reads = world.count("fetch_latest")
    assert find_late_writes(run, found) == ()
    assert world.count("fetch_latest") == reads


def test_vault_is_not_read_again_when_every_write_was_answered() -> None:
    world = make_world()
    world.run()
    world.finish()
    before = world.count("fetch_latest")
    world.run()
    assert world.count("fetch_latest") == before


def test_inventorys_value_is_put_back_when_a_live_value_of_somebody_else_is_newer() -> None:
    world = make_overlapping()
    world.run()
    theirs = world.add_lookalike(world.record().valid_to + timedelta(days=1))
    world.secrets.write_foreign(world.location(), theirs.value)
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.rotate(NAME)
    world.heal()
    world.advance(**SETTLE)
    world.run()
    assert world.states() == ["completed", "abandoned"]
    world.secrets.apply_late()
    world.run()
    world.check_served()


# Several versions of ours, and a rule that disables the older ones.


def disable_previous(world: EngineWorld) -> EngineWorld:
    """The same world under a rule that disables older versions when a rotation is over."""
    world.policy = make_policy(replace(RULE, disable_previous=True))
    return world


def test_newest_version_stays_enabled_when_an_unanswered_write_of_the_same_value_lands_late() -> None:
    world = disable_previous(make_world())
    world.secrets.postpone_store()
    world.run()
    assert world.states() == ["overlapping"]
    world.secrets.apply_late()
    world.finish()
    assert world.latest().version.enabled


def test_newest_version_stays_enabled_when_putting_back_was_killed_before_its_commit() -> None:
    world = make_late_store(disabling=True)
    world.run_and_die(before="secret_restored")
    world.advance(**LEASE)
    world.finish()
    assert world.latest().version.enabled


def test_foreign_version_stays_enabled_when_it_was_written_right_after_the_revocation() -> None:
    world = disable_previous(make_world())
    world.run()
    world.advance(hours=24)
    world.run_and_die(before="completed")
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(**LEASE)
    world.run()
    assert world.latest().version.enabled


# The read-back.


def test_rotation_is_frozen_when_another_value_is_read_back_under_our_tags() -> None:
    world = make_world()
    world.database.interrupts["stored"] = lambda: write_under_our_tags(world)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["foreign_write"]
    assert world.states() == ["failed"]
    assert world.revoked_ids() == []


def write_under_our_tags(world: EngineWorld) -> None:
    """Somebody copies our version's tags to a value of their own."""
    world.secrets.write_foreign(world.location(), "theirs", dict(world.latest().version.tags))


@pytest.mark.parametrize("side", ["before", "after"])
def test_rotation_begins_anew_when_the_stored_clone_was_revoked_while_the_process_was_dead(side: str) -> None:
    world = make_world()
    world.run_and_die(**{side: "stored"})
    world.pats.pats[world.live_ids()[1]].revoked = True
    world.advance(**LEASE)
    report = world.run()
    assert (world.states()[0], world.rotations()[0].ending) == ("failed", RotationEnding.CLONE_LOST)
    assert names_of(report, OutcomeKind.ABANDONED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    world.advance(**SETTLE)
    world.run()
    assert world.states() == ["failed", "overlapping"]
    world.check_served()
    world.finish()


@pytest.mark.parametrize("dies", [False, True])
def test_foreign_write_is_never_overwritten_when_the_first_rotation_was_frozen(dies: bool) -> None:
    """Nothing of ours was ever confirmed in that vault, so only the freeze says that the version is not ours."""
    world = make_world()
    world.run_and_die(after="stored")
    foreign = world.secrets.write_foreign(world.location(), "theirs")
    world.advance(**LEASE)
    if dies:
        world.run_and_die(after="rotation_frozen")
        failure = world.record().last_failure
        assert failure is not None
        assert (failure.code, world.record().blocked) == ("foreign_write", True)
    for _ in range(4):
        world.advance(hours=13)
        world.run()
    assert world.latest().version.version == foreign
    assert world.codes()[0] == "foreign_write"
    assert [call[0] for call in world.pats.calls].count("mint") == 1
    world.rotate(NAME)
    assert world.latest().version.version != foreign


@pytest.mark.parametrize("dies", [False, True])
def test_foreign_write_is_never_overwritten_when_a_passing_error_came_after_the_freeze(dies: bool) -> None:
    """A later failure replaces the record's last one; why the record waits must outlive it.

    The freeze alone says so when the run died right after it.
    """
    world = make_world()
    world.run_and_die(after="stored")
    foreign = world.secrets.write_foreign(world.location(), "theirs")
    world.advance(**LEASE)
    if dies:
        world.run_and_die(after="rotation_frozen")
    else:
        world.run()
    world.advance(hours=13)
    world.pats.fail("fetch_pat")
    if dies:
        world.rotate(NAME)
    else:
        world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code != "foreign_write"
    for _ in range(3):
        world.advance(hours=13)
        world.run()
    assert world.latest().version.version == foreign
    assert world.count("mint") == 1


def lose_restore(world: EngineWorld) -> None:
    """A run that puts the committed value back, without an answer; the next run does it again, and is answered."""
    world.secrets.postpone_store()
    world.run()
    assert world.events()[-2] == "restore_started intended"
    world.advance(minutes=6)
    world.run()
    world.check_served()


def check_undone(world: EngineWorld) -> None:
    """The lost write of the restore takes effect after the next rotation, and is undone by the next run."""
    world.finish()
    world.rotate(NAME)
    world.finish()
    assert world.secrets.apply_late() == 1
    assert not world.is_live()
    world.run()
    world.check_served()
    world.finish()


def test_late_write_of_a_restore_is_undone_like_any_other() -> None:
    world = make_late_store()
    lose_restore(world)
    check_undone(world)


def test_late_write_of_a_restore_is_undone_when_the_value_had_no_tags() -> None:
    """What was put back is the value that a person had written before the first rotation."""
    world = make_given_up_store()
    world.pats.fail("mint", make_busy("mint", "azure_devops"))
    world.run()
    assert world.states() == ["abandoned", "abandoned"]
    assert world.secrets.apply_late() == 1
    lose_restore(world)
    check_undone(world)


def test_restore_is_journaled_before_it_is_sent_and_its_version_names_it() -> None:
    world = make_late_store()
    world.run_and_die(after="restore_started")
    [attempt] = world.restores()
    assert attempt.may_write_late
    assert attempt.stored_id == world.record().authorization_id
    world.advance(minutes=6)
    world.run()
    newest = world.latest().version
    again = world.restores()[-1]
    assert newest.tags[RESTORED_TAG] == again.id != attempt.id
    assert again.secret_version == newest.version
    assert not again.may_write_late


def test_clone_that_consumers_read_is_not_given_up_while_nothing_else_signs_in() -> None:
    """Its write took effect after it was to be revoked, and the old PAT's probe is refused for a while."""
    world = make_given_up_store()
    old, clone = world.live_ids()
    world.run_and_die(after="abandoning")
    assert world.secrets.apply_late() == 1
    world.advance(minutes=6)
    world.pats.fail("verify", make_refused_probe(), times=300)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["late_write_kept"]
    assert world.live_ids() == [old, clone]
    world.heal()
    world.advance(hours=1)
    world.run()
    assert clone not in world.live_ids()
    world.check_served()
    world.finish()


def test_clone_that_consumers_read_serves_until_a_person_gets_a_new_pat_when_the_old_one_is_dead() -> None:
    """Nothing can be put back over its late write, and that lasts: its rotation is closed, and the clone is told of."""
    world = make_given_up_store()
    old, clone = world.live_ids()
    world.run_and_die(after="abandoning")
    assert world.secrets.apply_late() == 1
    world.pats.pats[old].revoked = True
    for _ in range(3):
        world.advance(hours=7)
        world.run()
        assert (world.is_live(), world.states(), world.record().blocked) == (True, ["failed"], True)
    left = [row.authorization_id for row in world.show_status() if row.state is PatState.UNTRACKED]
    assert left == [clone]
    world.pats.fail("mint", make_busy("mint", "azure_devops"), times=300)
    world.rotate(NAME)
    assert world.is_live()
    world.heal()
    world.advance(**SETTLE)
    world.rotate(NAME)
    world.check_served()
    world.finish(besides=(clone,))
    assert revoke_left_behind(world.make_run(), clone).pat.authorization_id == clone
    world.check_rest()


def test_clone_that_nobody_reads_is_revoked_although_a_late_write_of_an_earlier_one_cannot_be_undone() -> None:
    world = make_given_up_store()
    old, first = world.live_ids()
    lose_every_store(world)
    second = world.live_ids()[-1]
    assert (world.states(), world.live_ids()) == (["abandoned", "storing"], [old, second])
    world.pats.pats[old].revoked = True
    assert world.secrets.apply_late() == 1
    world.advance(**SETTLE)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    assert (world.states(), world.revoked_ids()) == (["abandoned", "abandoned"], [first, second])
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.finish()


def test_record_stays_blocked_for_its_own_reason_when_consumers_also_read_a_late_write() -> None:
    """Old and new were revoked by somebody, and then the write of the new one took effect."""
    world = make_given_up_store()
    for fake in world.pats.live_pats():
        fake.revoked = True
    assert world.secrets.apply_late() == 1
    for _ in range(4):
        world.run()
        world.advance(minutes=6)
        assert world.record().blocked
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "revoked_elsewhere"


def test_clone_is_left_behind_when_a_tool_took_our_tags_off_before_the_store_was_noted() -> None:
    """Consumers read it, and nothing says whose value that is."""
    world = make_world()
    world.run_and_die(before="stored")
    world.secrets.replace_tags(world.location(), {"env": "prod"})
    for _ in range(4):
        world.advance(**SETTLE)
        world.run()
        assert world.is_live()
    assert world.codes()[0] == "clone_untagged"
    assert world.revoked_ids() == []
    with world.database.read() as reading:
        (left,) = load_left_behind(reading, world.clock.now())
    assert left.pat.authorization_id in world.live_ids()


def test_clone_is_revoked_when_what_somebody_wrote_in_its_place_signs_in_nowhere() -> None:
    world = make_world()
    lose_every_store(world)
    world.secrets.write_foreign(world.location(), "someone's")
    world.advance(**SETTLE)
    world.run()
    assert world.codes()[0] == "value_lost"
    assert len(world.revoked_ids()) == 1


def test_pat_is_not_forgotten_while_its_given_up_write_may_still_land() -> None:
    """Nobody would put back what consumers read."""
    world = make_given_up_store()
    pause(world.make_run(), NAME)
    world.run()
    assert world.states() == ["abandoned"]
    with pytest.raises(UsageError) as caught:
        forget(world.make_run(), NAME)
    assert caught.value.code == "late_write_possible"
    assert "inventory pause" in caught.value.fix
    assert say_moment(world.rotations()[-1].updated_at + LATE_STORE_SPAN) in caught.value.fix
    world.host_clock.ahead = timedelta(days=3650)
    with pytest.raises(UsageError, match="got no answer"):
        forget(world.make_run(), NAME)
    world.host_clock.ahead = timedelta(0)
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served()
    world.advance(days=8)
    forget(world.make_run(), NAME)


def test_pat_is_forgotten_although_a_write_may_land_when_nothing_can_be_put_back() -> None:
    world = make_given_up_store()
    pause(world.make_run(), NAME)
    world.run()
    revoke_current(world.make_run(), NAME)
    forget(world.make_run(), NAME)
    with world.database.read() as reading:
        assert reading.inventory.load_all() == ()


# A rotation that failed with a write that got no answer: harmless until its clone is to be revoked.


def replace_by_hand(world: EngineWorld) -> str:
    """A person rotates after a freeze, and ends the overlap. Return the clone of the frozen rotation."""
    world.rotate(NAME)
    revoke_previous(world.make_run(), NAME)
    world.check_served()
    return str(world.rotations()[0].new_authorization_id)


def land_and_rest(world: EngineWorld) -> None:
    """The write takes effect, and the next run puts back what consumers should read."""
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served()
    world.finish()


def test_late_write_of_a_frozen_rotation_is_undone_once_its_clone_was_revoked() -> None:
    """It is looked for seven days from then on, however long ago the rotation froze."""
    world = make_frozen_store()
    clone = replace_by_hand(world)
    world.advance(days=5)
    revoke_left_behind(world.make_run(), clone)
    world.advance(days=6)
    land_and_rest(world)


def test_late_write_of_a_frozen_rotation_is_undone_although_a_slow_host_was_to_revoke_its_clone() -> None:
    world = make_frozen_store()
    clone = replace_by_hand(world)
    world.host_clock.ahead = timedelta(days=-30)
    with pytest.raises(ClockSkewError):
        revoke_left_behind(world.make_run(), clone)
    world.heal()
    world.advance(**LEASE)
    world.run()
    assert clone not in world.live_ids()
    land_and_rest(world)


def test_late_write_of_a_frozen_rotation_is_undone_before_its_clone_is_revoked() -> None:
    """It has taken effect when a person asks for that: consumers must not read what is about to die."""
    world = make_frozen_store()
    clone = replace_by_hand(world)
    assert world.secrets.apply_late() == 1
    revoke_left_behind(world.make_run(), clone)
    assert clone not in world.live_ids()
    world.finish()


def test_late_write_of_a_frozen_rotation_is_undone_once_its_clone_was_replaced() -> None:
    """It froze in its overlap, with the clone as the PAT in use; a person rotates, and the run revokes that clone."""
    world = make_world()
    store_twice(world)
    old = world.rotations()[0].predecessor_id
    world.secrets.write_foreign(world.location(), world.pats.pats[old].value)
    world.advance(hours=25)
    world.run()
    assert (world.states(), world.rotations()[0].new_authorization_id) == (["failed"], world.record().authorization_id)
    world.rotate(NAME)
    world.advance(hours=25)
    world.run()
    assert world.states() == ["failed", "completed"]
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served()
    world.finish(besides=(old,))


def test_late_write_of_a_clone_that_was_being_given_up_is_undone_after_its_record_was_gone() -> None:
    """The request to revoke it was sent and not answered; a slow host closed it, and a person adopts the old PAT."""
    world = make_given_up_store()
    record = replace(world.record(), state=ManagedPatState.PAUSED)
    world.pats.fail("revoke", after_effect=True)
    world.run()
    assert world.states() == ["abandoning"]
    world.advance(**LEASE)
    world.forget()
    world.host_clock.ahead = timedelta(days=-30)
    close_forgotten(world.make_run())
    world.heal()
    assert world.codes() == ["record_gone"]
    with world.database.begin() as work:
        work.inventory.add(record)
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served()


def test_forget_is_refused_while_the_write_of_a_frozen_rotation_may_still_take_effect() -> None:
    world = make_frozen_store()
    revoke_left_behind(world.make_run(), replace_by_hand(world))
    with pytest.raises(UsageError, match="can still take effect"):
        forget(world.make_run(), NAME)


# A wrong clock that dates the end of a rotation ends no search for its write.


def test_late_write_is_looked_for_although_a_wrong_clock_dated_the_end_of_its_rotation() -> None:
    world = make_given_up_store()
    set_back_while_revoking(world)
    world.finish()
    land_and_rest(world)


def test_late_write_of_a_restore_is_looked_for_although_a_wrong_clock_dated_it() -> None:
    """Two attempts are answered and do nothing; from the first on the host's clock is slow. The third is lost."""
    world = make_late_store()

    def set_back() -> bool:
        world.host_clock.ahead = timedelta(days=-30)
        return True

    world.secrets.ignores_store = set_back
    world.secrets.fail("store", skip=2)
    with suppress(RotatorError):
        world.run()
    attempts = world.restores()
    world.heal()
    assert [attempt.updated_at > world.clock.now() - timedelta(minutes=1) for attempt in attempts] == [True] * 3
    assert all(attempt.may_write_late for attempt in attempts)


def test_late_write_is_looked_for_by_the_earliest_clock() -> None:
    world = make_given_up_store()
    world.run()
    world.host_clock.ahead = timedelta(days=3650)
    run = world.make_run()
    assert look(run, ServerView(run)).late_stores == {NAME}


def test_forget_is_refused_although_a_wrong_clock_dated_the_end_of_the_rotation() -> None:
    world = make_given_up_store()
    pause(world.make_run(), NAME)
    set_back_while_revoking(world)
    with pytest.raises(UsageError, match="can still take effect"):
        forget(world.make_run(), NAME)


def test_forget_is_refused_for_no_longer_than_a_week_when_a_fast_clock_dated_the_end_of_the_rotation() -> None:
    world = make_given_up_store()

    def set_ahead(_: str) -> bool:
        world.host_clock.ahead = timedelta(days=3650)
        return False

    world.pats.ignores_revoke = set_ahead
    with suppress(RotatorError):
        world.run()
    world.pats.ignores_revoke = lambda _: False
    world.heal()
    assert max(rotation.updated_at for rotation in world.rotations()) > world.clock.now() + timedelta(days=3000)
    world.advance(minutes=6)
    world.finish()
    with pytest.raises(UsageError, match="can still take effect"):
        forget(world.make_run(), NAME)
    world.advance(days=8)
    world.run()
    forget(world.make_run(), NAME)


@pytest.mark.parametrize("ahead", [timedelta(days=-30), timedelta(days=3650)])
def test_late_write_is_looked_for_after_runs_on_a_host_with_a_wrong_clock_that_hears_no_service(
    ahead: timedelta,
) -> None:
    """It cannot tell that what was dated right is not ahead, nor that it is not old."""
    world = make_given_up_store()
    pause(world.make_run(), NAME)
    world.run()
    dated = world.rotations()[-1].updated_at
    heard, world.witnesses.ahead = world.witnesses.ahead, {}
    world.host_clock.ahead = world.database.skew = ahead
    for _ in range(3):
        with suppress(RotatorError):
            world.run()
    world.witnesses.ahead = heard
    world.heal()
    assert world.rotations()[-1].updated_at == dated
    land_and_rest(world)


@pytest.mark.parametrize(("has_tags", "copies"), [(True, 1), (False, 1), (False, 4)])
def test_value_that_a_tool_rolled_back_under_our_tags_is_not_put_back_over_a_late_write(
    has_tags: bool, copies: int
) -> None:
    """It is the old PAT's: the overlap would begin again, and end with the PAT that consumers read.

    The version that we wrote is known by its id, although a tool has taken its tags off.
    """
    world = make_given_up_store()
    world.run()
    newest, *_, oldest = world.secrets.versions_of(world.location())
    if not has_tags:
        world.secrets.replace_tags(world.location(), {})
    for _ in range(copies):
        world.secrets.write_foreign(world.location(), oldest.value.reveal(), dict(newest.version.tags))
    assert world.secrets.apply_late() == 1
    world.advance(hours=1)
    world.run()
    assert world.latest().value.same_as(newest.value)
    assert world.record().secret_version == world.latest().version.version
    world.finish()


def test_value_that_we_put_back_before_stays_ours_although_it_lost_its_tags() -> None:
    """The record knows that version by its id."""
    world = make_given_up_store()
    world.run()
    world.finish()
    assert world.secrets.apply_late() == 1
    late = world.latest()
    world.run()
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), late.value.reveal(), dict(late.version.tags))
    world.run()
    assert RESTORED_TAG in world.latest().version.tags
    assert world.record().secret_version == world.latest().version.version
    world.finish()


def roll_back_before_it_is_noted(world: EngineWorld) -> None:
    """The run dies before it notes its write; a tool rolls that back under our tags, and takes them off ours."""
    world.run_and_die(before="stored")
    newest, *_, oldest = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), oldest.value.reveal(), dict(newest.version.tags))
    world.advance(minutes=6)


def test_copy_of_the_old_value_under_our_tags_is_not_taken_for_an_unanswered_write() -> None:
    """A clone's value is never the old PAT's. What became of ours nobody can tell: the rotation is frozen."""
    world = make_world()
    roll_back_before_it_is_noted(world)
    clone = world.live_ids()[-1]
    world.run()
    assert (world.states(), world.codes()) == (["failed"], ["foreign_write"])
    for _ in range(9):
        world.advance(hours=7)
        world.run()
        assert world.is_live()
    assert clone in world.live_ids()
    world.check_rest(besides=(clone,))


def test_copy_of_a_value_that_is_to_be_revoked_is_not_taken_for_an_unanswered_write() -> None:
    """The revocation of an earlier PAT had no effect: it is asked for again as soon as our write counts as there."""
    world = make_overlapping(hours=25)
    world.run()
    world.rotate(NAME)
    world.advance(hours=25)
    world.pats.ignores_revoke = lambda _: True
    world.run()
    assert world.states() == ["completed", "completed"]
    world.advance(days=24)
    world.run_and_die(before="stored")
    newest, _, pending, _ = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), pending.value.reveal(), dict(newest.version.tags))
    world.advance(minutes=6)
    world.run()
    assert (world.states()[-1], world.codes()) == ("failed", ["foreign_write"])


def test_second_write_is_found_beside_a_copy_of_the_old_value() -> None:
    """Ours took effect twice, the second time after the roll back."""
    world = make_world()
    roll_back_before_it_is_noted(world)
    clone = world.pats.pats[world.live_ids()[-1]].value
    tags = dict(world.latest().version.tags)
    world.secrets.write_foreign(world.location(), clone, tags)
    world.run()
    assert world.states() == ["overlapping"]
    world.finish()


def test_copy_is_not_put_back_over_a_late_write_for_a_clone_whose_write_was_not_answered() -> None:
    """The old PAT's own version is: nothing of its value has the clone's tags."""
    world = make_overlapping(hours=25)
    world.run()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.rotate(NAME)
    world.heal()
    world.advance(minutes=11)
    world.run()
    world.advance(days=24)
    world.run_and_die(before="stored")
    assert world.states() == ["completed", "abandoned", "storing"]
    newest, old, *_ = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), old.value.reveal(), dict(newest.version.tags))
    assert world.secrets.apply_late() == 1
    world.advance(minutes=6)
    world.run()
    assert world.latest().version.tags[AUTHORIZATION_TAG] == world.record().authorization_id
    for _ in range(9):
        assert world.is_live()
        world.advance(hours=7)
        world.run()
    assert world.states() == ["completed", "abandoned", "failed", "completed"]


def test_value_that_is_put_back_before_its_write_was_noted_is_not_taken_for_the_old_one() -> None:
    """The record names the old PAT still, so the version that holds the clone's value is not the record's."""
    world = make_given_up_store()
    world.run_and_die(before="stored")
    assert world.secrets.apply_late() == 1
    known = world.record().secret_version
    world.advance(minutes=6)
    world.run_and_die(after="secret_restored")
    assert world.record().secret_version == known
    world.finish()
    assert world.states() == ["abandoned", "completed"]


def test_pat_that_is_not_due_is_not_blocked_for_ever_when_its_vault_lets_rotator_in_again() -> None:
    """Its secret is looked at for a late write, which the firewall denies for an hour."""
    world = make_world()
    world.secrets.fail("store", make_busy("store", "key_vault"), times=30)
    for hours in (2, 3, 24, 1):
        world.run()
        world.heal()
        world.advance(hours=hours)
    assert "completed" in world.states()
    world.secrets.firewall = True
    world.run()
    assert world.record().blocked
    world.secrets.firewall = False
    world.advance(hours=7)
    world.run()
    assert not world.record().blocked
    assert world.record().last_failure is None


def test_look_at_the_vault_does_not_clear_what_azure_devops_denied() -> None:
    """The secret is looked at for a late write in each run, and nothing else is tried until the PAT is due."""
    world = make_given_up_store()
    for _ in range(5):
        world.run()
        world.advance(hours=7)
    assert world.states() == ["abandoned", "completed"]
    denied = DeniedError("the user may not", service="azure_devops", operation="mint", status=403, fix="Ask.")
    world.pats.fail("mint", denied, times=1000)
    with suppress(RotatorError):
        world.rotate(NAME)
    for _ in range(4):
        assert world.record().blocked
        with world.database.read() as reading:
            assert ConditionKind.ROTATION_BLOCKED in {found.kind for found in reading.conditions.load()}
        world.advance(hours=8)
        world.run()
