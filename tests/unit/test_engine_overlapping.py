"""What other people do while old and new are both valid."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.cli.output.inventory import render_record
from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Hold, Pat
from rotator.domain.words import say_moment
from rotator.engine.auditing import load_events
from rotator.engine.keeping import pause, revoke_previous
from rotator.engine.left_behind import LeftBehind, load_left_behind
from rotator.engine.overview import view_record
from rotator.engine.report import OutcomeKind, OutcomeReason, PatOutcome
from rotator.engine.run import rotate_by_hand
from rotator.engine.status import PatState
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.errors import PlanRefusedError, RotationError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from tests.support.engine import NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_overlapping
from tests.support.policies import RULE, make_policy

LEASE, SETTLE = {"minutes": 6}, {"minutes": 11}
"""Spans that outlast a dead run's claim, and the time in which an unanswered request may still take effect."""


def test_rotation_is_frozen_and_nothing_revoked_when_somebody_else_writes_the_secret() -> None:
    world = make_overlapping(hours=1)
    old, new = world.live_ids()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=23)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["foreign_write"]
    assert world.states() == ["failed"]
    (frozen,) = load_events(world.database, AuditFilter(subject=NAME, event="rotation_frozen"))
    failure = world.record().last_failure
    assert failure is not None
    assert (frozen.entry.details["code"], frozen.entry.details["message"]) == (failure.code, failure.message)
    for _ in range(5):
        world.advance(hours=7)
        world.run()
    assert world.live_ids() == [old, new]
    assert world.revoked_ids() == []
    assert world.record().blocked


@pytest.mark.parametrize("hours", [1, 24])
def test_old_pat_is_current_again_and_rotated_anew_when_the_clone_was_revoked_by_hand(hours: int) -> None:
    world = make_overlapping(hours=hours)
    old, lost = world.live_ids()
    world.pats.pats[lost].revoked = True
    report = world.run()
    assert names_of(report, OutcomeKind.ABANDONED) == [NAME]
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert world.states() == ["failed", "overlapping"]
    assert world.rotations()[1].predecessor_id == old
    world.check_served()
    world.finish()


def test_old_pat_is_not_current_again_while_its_own_revocation_may_still_take_effect() -> None:
    world = make_overlapping()
    old, lost = world.live_ids()
    world.run_and_die(after="retiring")
    world.advance(**LEASE)
    world.pats.pats[lost].revoked = True
    world.run()
    assert (world.states(), world.record().authorization_id) == (["retiring"], lost)
    world.pats.pats[old].revoked = True  # the request of the process that died
    world.advance(**SETTLE)
    world.run()
    assert world.record().authorization_id != old


def test_old_pat_is_current_again_once_its_own_revocation_can_no_longer_take_effect() -> None:
    world = make_overlapping()
    old, lost = world.live_ids()
    world.run_and_die(after="retiring")
    world.advance(**SETTLE)
    world.pats.pats[lost].revoked = True
    world.run()
    assert world.states() == ["failed", "overlapping"]
    assert world.rotations()[1].predecessor_id == old
    world.finish()


@pytest.mark.parametrize("is_paused", [False, True])
def test_old_value_is_put_back_when_the_clone_was_revoked_by_hand_and_nothing_is_due(is_paused: bool) -> None:
    """Else consumers would read a dead PAT until the old one is due, or for as long as it is paused."""
    world = make_world()
    world.finish()
    world.rotate(NAME)
    old, lost = world.live_ids()
    if is_paused:
        pause(world.make_run(), NAME)
    world.advance(hours=2)
    world.pats.pats[lost].revoked = True
    report = world.run()
    assert names_of(report, OutcomeKind.ABANDONED) == names_of(report, OutcomeKind.RECOVERED) == [NAME]
    assert world.record().authorization_id == old
    assert world.latest().value.reveal() == world.pats.pats[old].value
    world.check_served()
    restored = world.count("store")
    world.advance(hours=2)
    world.run()
    assert world.count("store") == restored


def test_revocation_that_takes_effect_when_the_old_pat_is_current_again_is_not_called_anothers() -> None:
    world = make_overlapping()
    old, lost = world.live_ids()
    world.run_and_die(after="retiring")
    world.advance(**SETTLE)
    world.pats.pats[lost].revoked = True
    world.pats.fail("mint")
    world.run()
    assert world.record().authorization_id == old
    world.pats.pats[old].revoked = True  # the request of the process that died
    world.advance(**SETTLE)
    world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.message.startswith("its revocation took effect late: rotator asked for it")


def test_old_value_is_put_back_when_the_clone_is_revoked_after_the_list_of_the_run_that_ends_the_overlap() -> None:
    world = make_overlapping()
    old, clone = world.live_ids()
    world.advance(hours=25)

    def list_and_revoke(listed: tuple[Pat, ...]) -> PatList:
        world.pats.pats[clone].revoked = True
        return PatList(listed, ())

    world.pats.change_listed = list_and_revoke
    report = world.run()
    [outcome] = report.of_kind(OutcomeKind.ABANDONED)
    assert (outcome.reason, outcome.revoked_id) == (OutcomeReason.CLONE_REVOKED_ELSEWHERE, clone)
    world.pats.change_listed = None
    assert (world.rotations()[1].predecessor_id, world.is_live()) == (old, True)
    assert world.revoked_ids() == []
    world.finish()


@pytest.mark.parametrize("hours", [2, 25], ids=["in the overlap", "at its end"])
def test_old_pat_is_not_revoked_while_the_value_of_a_clone_that_was_revoked_by_hand_still_signs_in(hours: int) -> None:
    """Azure DevOps may answer from memory for a while; its list of the revoked PATs says what is true."""
    world = make_overlapping()
    old, clone = world.live_ids()
    world.advance(hours=hours)
    world.pats.pats[clone].revoked = True
    world.pats.lingering.add(clone)
    world.run()
    assert world.revoked_ids() == []
    world.heal()
    world.advance(hours=25)
    world.run()
    assert (world.rotations()[1].predecessor_id, world.is_live()) == (old, True)
    world.finish()


@pytest.mark.parametrize("request_lives", [False, True])
def test_retirement_waits_when_the_clone_is_called_revoked_and_a_request_for_the_old_pat_may_take_effect(
    request_lives: bool,
) -> None:
    world = make_overlapping(hours=25)
    old, clone = world.live_ids()
    if request_lives:
        world.pats.postpone_revoke()
    else:
        world.pats.fail("revoke")
    world.run()
    world.pats.pats[clone].revoked = True
    world.pats.lingering.add(clone)
    world.advance(minutes=1)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["verification_failed"]
    assert world.revoked_ids() == [old]
    assert world.states() == ["retiring"]


def test_old_value_is_put_back_by_a_later_run_when_the_vault_was_away() -> None:
    world = make_world()
    world.finish()
    world.rotate(NAME)
    old, lost = world.live_ids()
    world.pats.pats[lost].revoked = True
    world.advance(hours=2)
    world.secrets.fail("store", times=30)
    world.run()
    world.heal()
    world.advance(hours=7)
    world.run()
    assert world.latest().value.reveal() == world.pats.pats[old].value


def test_retirement_that_was_carried_out_is_frozen_when_a_tool_has_put_the_old_value_back_under_our_tags() -> None:
    """Consumers read a PAT that is gone: that is told, and no rotation counts as completed."""
    world = make_overlapping(hours=25)
    world.run_and_die(after="retiring")
    old = world.pats.pats[world.rotations()[0].predecessor_id]
    newest = world.latest()
    world.secrets.write_foreign(world.location(), old.value, dict(newest.version.tags))
    old.revoked = True
    world.advance(hours=1)
    world.run()
    assert (world.states(), world.record().hold) == (["failed"], Hold.FOREIGN_WRITE)
    world.rotate(NAME)
    world.finish()


def test_retirement_that_was_carried_out_is_completed_when_a_read_of_the_secret_is_old() -> None:
    world = make_overlapping(hours=25)
    world.run_and_die(after="retiring")
    world.pats.pats[world.rotations()[0].predecessor_id].revoked = True
    world.secrets.is_stale = lambda: True
    world.advance(hours=1)
    world.run()
    assert (world.states(), world.record().hold) == (["completed"], None)


def test_pat_in_its_overlap_keeps_none_of_the_others_from_being_rotated() -> None:
    world = make_world("a", NAME)
    world.rotate(NAME)
    before = world.record()
    report = world.rotate(NAME, "a")
    assert codes_of(report, OutcomeKind.FAILED) == ["overlap_not_over"]
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert replace(world.record(), epoch=before.epoch) == before
    both = world.rotate(NAME, "a")
    assert codes_of(both, OutcomeKind.FAILED) == ["overlap_not_over"] * 2
    assert names_of(both, OutcomeKind.FAILED) == ["a", NAME] or names_of(both, OutcomeKind.FAILED) == [NAME, "a"]
    with pytest.raises(RotationError, match="still in its overlap"):
        world.rotate(NAME)


def test_rotating_beside_another_pat_revokes_no_old_one_and_says_that_the_overlap_is_over() -> None:
    """As where it is named alone: before, the same command revoked and rotated it if others were named."""
    world = make_world("a", NAME)
    world.rotate(NAME)
    world.advance(days=3)
    report = world.rotate(NAME, "a")
    assert [(o.name, o.failure and o.failure.fix) for o in report.of_kind(OutcomeKind.FAILED)] == [
        (NAME, "The overlap is over: `rotator once` revokes the old PAT. Then rotate again.")
    ]
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert not report.of_kind(OutcomeKind.RETIRED)


def test_record_says_of_an_overlap_that_is_over_that_the_old_pat_is_not_revoked_yet() -> None:
    world = make_overlapping(hours=23)
    for hours, said in (
        (0, "the old PAT stays valid until {}"),
        (1, "the overlap ended {}; the old PAT is not revoked yet"),
    ):
        world.advance(hours=hours)
        now = world.clock.now()
        shown = view_record(world.database, world.policy, NAME, now)
        (until,) = [say_moment(one.overlap_until) for one in shown.rotations if one.overlap_until is not None]
        assert f"    {said.format(until)}" in list(render_record(shown, now))


def test_person_is_told_when_another_run_has_rotated_since_the_command_looked() -> None:
    world = make_world()

    def rotate_first(*_: object) -> list[PatOutcome]:
        world.run()
        return []

    run = world.make_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rotator.engine.run.check_overlap", rotate_first)
        report = rotate_by_hand(run, [NAME])
    assert codes_of(report, OutcomeKind.FAILED) == ["overlap_not_over"]
    assert world.count("mint") == 1


def test_pat_is_blocked_when_clone_and_old_one_were_revoked_by_hand() -> None:
    world = make_overlapping(hours=1)
    for found in world.live_ids():
        world.pats.pats[found].revoked = True
    world.run()
    world.advance(hours=1)
    world.run()
    assert world.states() == ["failed"]
    record = world.record()
    assert record.last_failure is not None
    assert record.last_failure.code == "revoked_elsewhere"
    assert record.blocked
    assert world.count("mint") == 1


def test_rotation_completes_when_the_old_pat_was_revoked_by_hand_meanwhile() -> None:
    world = make_overlapping()
    world.pats.pats[world.live_ids()[0]].revoked = True
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    world.check_rest()


def test_old_pat_is_kept_when_the_value_in_the_vault_authenticates_as_another_user() -> None:
    world = make_overlapping()
    other = world.pats.add_pat("release-bot", "contoso", "theirs", "vso.code", world.record().valid_to)
    world.secrets.write_foreign(world.location(), other.value, dict(world.latest().version.tags))
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["wrong_identity"]
    assert world.revoked_ids() == []
    assert (world.states(), world.record().blocked) == (["overlapping"], True)
    failure = world.record().last_failure
    assert failure is not None
    assert f"version {world.record().secret_version} has the right value" in failure.fix
    ours = world.secrets.fetch_version(world.location(), str(world.record().secret_version))
    assert ours is not None
    world.secrets.write_foreign(world.location(), ours.value.reveal(), dict(ours.version.tags))
    world.advance(minutes=6)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    assert (world.states(), world.record().blocked) == (["completed"], False)


def test_old_pat_is_kept_when_the_value_under_our_tags_is_no_pat() -> None:
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "not a PAT", dict(world.latest().version.tags))
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["not_a_pat"]
    assert (world.revoked_ids(), world.states()) == ([], ["overlapping"])
    assert world.count("verify") == 1


def test_rotation_is_frozen_when_the_value_under_our_tags_is_another_that_is_refused() -> None:
    """A tool copied our tags: no later try mends that."""
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "A" * 76 + "AZDO" + "A" * 4, dict(world.latest().version.tags))
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    assert (world.revoked_ids(), world.states()) == ([], ["failed"])


def test_old_pat_is_kept_when_the_inventory_calls_it_current() -> None:
    world = make_overlapping()
    old, new = world.live_ids()
    other = world.add_managed("other", days_left=29)
    world.forget("other")
    stolen = replace(other, authorization_id=old)
    with world.database.begin() as work:
        work.inventory.add(stolen)
    report = world.run()
    assert "predecessor_in_use" in codes_of(report, OutcomeKind.BLOCKED)
    assert world.states() == ["failed"]
    assert {old, new} <= set(world.live_ids())


def test_rotation_is_frozen_and_says_so_when_its_secret_is_deleted_during_the_overlap() -> None:
    """Nobody wrote anything: what helps is another thing."""
    world = make_overlapping()
    old, new = world.live_ids()
    world.secrets.soft_delete(world.location())
    (entry,) = world.run().of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert (entry.failure.code, world.revoked_ids(), world.live_ids()) == ("foreign_write", [], [old, new])
    assert "somebody deleted it" in entry.failure.message
    assert "recover it in the vault" in entry.failure.fix
    world.secrets.recover(world.location())
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]


def test_overlap_is_over_and_told_when_the_old_pat_has_expired() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(days=20))))
    world.run()
    expiry = world.rotations()[0].predecessor_valid_to
    assert world.show_status()[0].next_at == expiry
    world.advance(days=5, minutes=1)
    world.run()
    assert world.states() == ["completed"]
    assert "predecessor_expired succeeded" in world.events()
    assert world.count("revoke") == 0


def test_overlap_goes_on_when_the_old_pat_has_expired_by_one_clock_only() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(days=20))))
    world.run()
    world.advance(days=4, hours=23, minutes=59, seconds=30)
    world.host_clock.ahead = timedelta(seconds=45)
    world.run()
    assert world.states() == ["overlapping"]


def test_paused_pat_is_blocked_and_told_when_its_open_rotation_freezes() -> None:
    world = make_overlapping(hours=1)
    pause(world.make_run(), NAME)
    assert world.show_status()[0].state is PatState.PAUSED
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=24)
    world.run()
    assert world.show_status()[0].state is PatState.BLOCKED
    for _ in range(2):
        world.advance(hours=7)
        world.run()
    with world.database.read() as reading:
        assert ConditionKind.ROTATION_BLOCKED in {item.kind for item in reading.conditions.load()}
    pause(world.make_run(), NAME)
    assert world.show_status()[0].state is PatState.PAUSED
    world.run()
    with world.database.read() as reading:
        assert ConditionKind.ROTATION_BLOCKED not in {item.kind for item in reading.conditions.load()}


def test_overlap_lasts_as_long_as_a_write_of_the_old_value_may_take_effect() -> None:
    """Two rotations within minutes, and a rule that asks for no overlap: the first write of the old value is late."""
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(0))))
    world.secrets.postpone_store()
    world.run()
    old = world.record().authorization_id
    assert world.states() == ["completed"]
    world.advance(minutes=6)
    world.rotate(NAME)
    assert world.states() == ["completed", "overlapping"]
    world.secrets.apply_late()
    assert world.is_live()
    world.run()
    assert world.record().authorization_id != old
    world.advance(minutes=4)
    world.run()
    assert old not in world.live_ids()
    world.check_served()
    world.finish()


@pytest.mark.parametrize("is_disabled", [False, True], ids=["copied", "and ours disabled"])
def test_old_pat_is_not_revoked_when_somebody_writes_its_value_back_with_our_tags(*, is_disabled: bool) -> None:
    """As a tool does that rolls a secret back with its tags: consumers read the old PAT again."""
    world = make_world()
    old = world.latest().value.reveal()
    world.run()
    ours = world.latest().version
    world.secrets.write_foreign(world.location(), old, dict(ours.tags))
    if is_disabled:
        world.secrets.disable_foreign(world.location(), -2)
    for _ in range(3):
        world.advance(hours=13)
        world.run()
        assert world.is_live()
    assert world.revoked_ids() == []
    assert world.record().blocked


def test_second_write_of_the_same_value_is_ours() -> None:
    """A write whose answer was lost is sent again, and the first may take effect after the second."""
    world = make_world()
    world.run()
    ours = world.latest()
    world.secrets.write_foreign(world.location(), ours.value.reveal(), dict(ours.version.tags))
    world.finish()


@pytest.mark.parametrize("with_tags", [False, True])
def test_old_pat_is_left_behind_when_somebody_copied_its_value_into_another_managed_secret(with_tags: bool) -> None:
    """That secret is frozen, and its consumers read the old PAT. A person who asks for its end is told."""
    world = make_world("a", "b")
    world.finish("a")
    copied = world.latest("a")
    world.secrets.write_foreign(
        world.location("b"), copied.value.reveal(), dict(copied.version.tags) if with_tags else {}
    )
    world.advance(days=24)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["database_behind" if with_tags else "foreign_write"]
    world.advance(hours=1)
    with pytest.raises(PlanRefusedError, match="contoso-b"):
        revoke_previous(world.make_run(), "a")
    for _ in range(4):
        world.advance(hours=13)
        world.run()
    assert world.states("a")[-1] == "completed"
    assert copied.version.tags[AUTHORIZATION_TAG] in world.live_ids("a")
    assert world.is_live("b")
    assert {left.pat.authorization_id for left in load_left(world)} == {copied.version.tags[AUTHORIZATION_TAG]}


def load_left(world: EngineWorld) -> tuple[LeftBehind, ...]:
    with world.database.read() as reading:
        return load_left_behind(reading, world.clock.now())
