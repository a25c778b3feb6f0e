"""What people do by hand: pause, resume, forget, revoke the old one, revoke the current one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.managed_pat import Hold, ManagedPatState
from rotator.engine.claiming import claimed
from rotator.engine.context import RunContext
from rotator.engine.keeping import (
    check_overlapping,
    forget,
    is_resumed,
    pause,
    rename,
    resume,
    revoke_current,
    revoke_previous,
)
from rotator.engine.report import OutcomeKind, OutcomeReason
from rotator.engine.run import rotate_by_hand
from rotator.engine.status import PatState
from rotator.errors import (
    ClaimHeldError,
    DatabaseError,
    ForeignWriteError,
    SignInRequiredError,
    StoppedError,
    UnknownOutcomeError,
    UsageError,
)
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ACCOUNT, NAME, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy, make_overlapping

LEASE = {"minutes": 6}


def test_paused_pat_is_not_rotated_until_it_is_resumed() -> None:
    world = make_world()
    assert pause(world.make_run(), NAME).state is ManagedPatState.PAUSED
    pause(world.make_run(), NAME)
    world.run()
    assert world.states() == []
    assert resume(world.make_run(), NAME).state is ManagedPatState.ACTIVE
    resume(world.make_run(), NAME)
    assert world.events() == ["pat_paused succeeded", "pat_resumed succeeded"]
    world.run()
    assert world.states() == ["overlapping"]


def test_reason_is_audited_with_all_that_was_done_when_a_person_gives_one() -> None:
    world = make_world()
    pause(replace(world.make_run(), reason="release week"), NAME)
    resume(world.make_run(), NAME)
    rotate_by_hand(replace(world.make_run(), reason="ticket 42"), [NAME])
    with world.database.read() as reading:
        events = reading.audit.load_newest(100, AuditFilter(subject=NAME))
    reasons = {event.entry.event: event.entry.details.get("reason") for event in events}
    assert reasons.pop("pat_paused") == "release week"
    assert reasons.pop("pat_resumed") is None
    assert len(reasons) > 5
    assert set(reasons.values()) == {"ticket 42"}


def test_open_rotation_is_brought_to_its_end_when_paused() -> None:
    world = make_overlapping(hours=1)
    pause(world.make_run(), NAME)
    world.advance(hours=24)
    world.run()
    assert world.states() == ["completed"]
    assert world.record().state is ManagedPatState.PAUSED
    world.check_rest()


def test_lost_clone_is_not_minted_anew_when_paused() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    pause(world.make_run(), NAME)
    world.run()
    assert world.states() == ["abandoned"]
    world.check_rest()


def test_failures_are_forgotten_when_resumed() -> None:
    world = make_world()
    world.secrets.denied.add("set")
    world.run()
    assert world.record().blocked
    world.secrets.denied.clear()
    assert not is_resumed(world.make_run(), NAME)
    record = resume(world.make_run(), NAME)
    assert is_resumed(world.make_run(), NAME)
    assert (record.blocked, record.failures, record.retry_at, record.last_failure) == (False, 0, None, None)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_server_and_vault_stay_as_they_are_when_a_pat_is_forgotten() -> None:
    world = make_world("a", NAME)
    location, live = world.location(), world.live_ids()
    forget(world.make_run(), NAME)
    with world.database.begin() as work:
        assert [pat.name for pat in work.inventory.load_all()] == ["a"]
    assert world.live_ids() == live
    assert len(world.secrets.versions_of(location)) == 1
    assert world.events() == ["pat_forgotten succeeded"]
    with pytest.raises(UsageError):
        forget(world.make_run(), NAME)


def test_pat_is_not_forgotten_when_its_rotation_is_open() -> None:
    world = make_overlapping(hours=1)
    with pytest.raises(UsageError, match=r"unfinished rotation \(overlapping\)") as caught:
        forget(world.make_run(), NAME)
    assert f"rotator revoke {NAME} --previous" in caught.value.fix
    assert world.record()


def test_pat_is_not_forgotten_when_that_cannot_be_audited() -> None:
    world = make_world()
    world.database.audit_left = 0
    with pytest.raises(DatabaseError):
        forget(world.make_run(), NAME)
    assert world.record()


@pytest.mark.parametrize("act", [pause, resume, forget, revoke_current, revoke_previous])
def test_nothing_is_done_by_hand_when_a_run_has_the_pat(act: object) -> None:
    world = make_world()
    with world.database.begin() as work:
        work.claims.claim(NAME, "other-run", now=work.now(), span=world.timing.lease)
    assert callable(act)
    with pytest.raises(ClaimHeldError):
        act(world.make_run(), NAME)
    assert world.events() == []


def test_overlap_ends_early_when_a_person_says_so() -> None:
    world = make_overlapping(hours=1)
    old = world.live_ids()[0]
    assert revoke_previous(world.make_run(), NAME) == old
    assert world.states() == ["completed"]
    world.check_rest()
    with pytest.raises(UsageError, match=f"{NAME} has no old PAT"):
        revoke_previous(world.make_run(), NAME)


def test_refusal_says_what_became_of_the_old_pat_when_its_revocation_was_interrupted() -> None:
    world = make_overlapping(hours=25)
    world.run_and_die(after="retiring")
    world.advance(hours=1)
    with pytest.raises(UsageError, match="was begun, and what came of it is not known") as caught:
        revoke_previous(world.make_run(), NAME)
    assert "`rotator recover`" in caught.value.fix


def test_guard_holds_when_a_person_ends_the_overlap_early() -> None:
    world = make_overlapping(hours=1)
    world.secrets.write_foreign(world.location(), "theirs")
    with pytest.raises(ForeignWriteError):
        revoke_previous(world.make_run(), NAME)
    assert world.revoked_ids() == []
    assert len(world.live_ids()) == 2


def test_current_pat_is_revoked_and_paused_when_a_person_says_so() -> None:
    world = make_world()
    current = world.record().authorization_id
    assert revoke_current(world.make_run(), NAME) == current
    assert world.live_ids() == []
    record = world.record()
    assert record.state is ManagedPatState.PAUSED
    assert record.last_failure is not None
    assert record.last_failure.code == "revoked_by_hand"
    assert world.events() == [
        "revoke_started intended",
        "revocation_requested succeeded",
        "pat_paused succeeded",
        "pat_revoked succeeded",
    ]
    world.check_promises()


def test_revoked_pat_is_replaced_when_a_person_asks_for_a_new_one() -> None:
    world = make_world()
    revoke_current(world.make_run(), NAME)
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.check_served()
    assert len(world.live_ids()) == 1


def test_rotation_is_over_and_nothing_is_revoked_twice_when_the_old_pat_was_revoked_by_hand() -> None:
    world = make_world()
    old = revoke_current(world.make_run(), NAME)
    report = world.rotate(NAME)
    [rotated] = report.outcomes
    assert (rotated.kind, rotated.reason) == (OutcomeKind.ROTATED, OutcomeReason.PREDECESSOR_GONE)
    assert rotated.overlap_until is None
    assert world.states() == ["completed"]
    assert world.revoked_ids() == [old]
    assert world.events().count("pat_revoked succeeded") == 1
    [row] = world.show_status()
    assert (row.state, row.revoke_after) == (PatState.OK, None)
    with pytest.raises(UsageError, match="no old PAT"):
        revoke_previous(world.make_run(), NAME)
    world.check_promises()


def test_revocation_stays_pending_when_the_rotation_after_it_is_over() -> None:
    world = make_world()
    world.pats.ignores_revoke = lambda authorization_id: True
    old = revoke_current(world.make_run(), NAME)
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED, OutcomeKind.RETIRED) == [NAME]
    assert world.states() == ["completed"]
    assert old in world.live_ids()
    world.pats.ignores_revoke = lambda authorization_id: False
    world.run()
    assert old not in world.live_ids()
    assert world.events().count("pat_revoked succeeded") == 1


def test_record_that_is_paused_already_is_not_said_to_be_paused_when_its_pat_is_revoked() -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    revoke_current(world.make_run(), NAME)
    assert world.events().count("pat_paused succeeded") == 1
    assert world.record().blocked is False


def test_current_pat_is_not_revoked_when_its_rotation_is_open() -> None:
    world = make_overlapping(hours=1)
    with pytest.raises(UsageError, match="unfinished rotation"):
        revoke_current(world.make_run(), NAME)
    assert world.revoked_ids() == []


def test_current_pat_is_not_revoked_when_that_cannot_be_audited() -> None:
    world = make_world()
    world.database.audit_left = 0
    with pytest.raises(DatabaseError):
        revoke_current(world.make_run(), NAME)
    assert world.revoked_ids() == []


def test_revocation_can_be_repeated_when_its_answer_was_lost() -> None:
    world = make_world()
    world.pats.fail("revoke", after_effect=True)
    with pytest.raises(UnknownOutcomeError):
        revoke_current(world.make_run(), NAME)
    assert world.record().state is ManagedPatState.ACTIVE
    revoke_current(world.make_run(), NAME)
    assert world.record().state is ManagedPatState.PAUSED


def test_run_has_nothing_to_say_when_a_person_revoked_the_pat() -> None:
    """That the server no longer lists it is no news, and nobody else revoked it."""
    world = make_world()
    revoke_current(world.make_run(), NAME)
    before = world.events()
    assert world.run().outcomes == ()
    assert (world.record().hold, world.events()) == (Hold.REVOKED_BY_HAND, before)


def test_revoked_pat_is_not_resumed_when_only_a_new_one_can_help() -> None:
    world = make_world()
    revoke_current(world.make_run(), NAME)
    with pytest.raises(UsageError, match="nothing to resume") as caught:
        resume(world.make_run(), NAME)
    assert f"rotator rotate {NAME}" in caught.value.fix
    assert world.record().state is ManagedPatState.PAUSED


def test_finished_rotation_is_no_stopped_run_when_the_stop_comes_with_its_last_commit() -> None:
    world = make_world()
    world.database.interrupts["overlapping"] = world.stop.set
    report = rotate_by_hand(world.make_run(), [NAME])
    assert (report.is_stopped, names_of(report, OutcomeKind.ROTATED)) == (False, [NAME])


@pytest.mark.parametrize("act", [forget, revoke_current])
def test_hint_names_the_end_of_an_overlap_only_when_there_is_one(act: Callable[[RunContext, str], object]) -> None:
    world = make_overlapping(hours=1)
    with pytest.raises(UsageError) as overlapping:
        act(world.make_run(), NAME)
    assert f"rotator revoke {NAME} --previous" in overlapping.value.fix
    interrupted = make_world()
    interrupted.run_and_die(after="minted")
    interrupted.advance(hours=1)
    with pytest.raises(UsageError) as caught:
        act(interrupted.make_run(), NAME)
    assert "--previous" not in caught.value.fix
    assert "rotator once" in caught.value.fix


def test_overlap_is_looked_for_before_anybody_is_asked() -> None:
    world = make_overlapping(hours=1)
    with world.database.read() as reading:
        check_overlapping(world.make_run(), reading, NAME)
    world.advance(hours=25)
    world.run()
    with world.database.read() as reading, pytest.raises(UsageError, match="no old PAT"):
        check_overlapping(world.make_run(), reading, NAME)
    with world.database.read() as reading, pytest.raises(UsageError, match="no managed PAT"):
        check_overlapping(world.make_run(), reading, "nobody")
    with world.database.read() as reading, pytest.raises(UsageError, match='"npm-fed", did you mean "npm-feed"'):
        check_overlapping(world.make_run(), reading, "npm-fed")


@pytest.mark.parametrize("is_stopped", [True, False])
def test_revocation_by_hand_is_not_called_somebody_elses_when_nobody_saw_its_answer(is_stopped: bool) -> None:
    """The answer was lost, or the command was stopped after the request."""
    world = make_world()
    world.pats.fail("revoke", StoppedError() if is_stopped else None, after_effect=True)
    with pytest.raises((UnknownOutcomeError, StoppedError)):
        revoke_current(world.make_run(), NAME)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_by_hand"]
    record = world.record()
    assert record.hold is Hold.REVOKED_BY_HAND
    assert record.last_failure is not None
    assert "rotator revoke" in record.last_failure.message
    with pytest.raises(UsageError, match="nothing to resume"):
        resume(world.make_run(), NAME)
    assert world.run().outcomes == ()
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.check_served()


def test_revocation_by_hand_is_known_when_the_pat_was_renamed_and_another_one_of_it_was_to_be_revoked_since() -> None:
    """The audit log names the PAT by its id; the name under which it does is not the record's any more."""
    world = make_world()
    world.pats.fail("revoke", None, after_effect=True)
    with pytest.raises(UnknownOutcomeError):
        revoke_current(world.make_run(), NAME)
    with claimed(world.make_run(), NAME) as held:
        held.save(held.pat, RevokeStarted(authorization_id="another", why="late"))
    rename(world.make_run(), NAME, "npm-publish")
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_by_hand"]


def test_pat_was_revoked_outside_when_an_earlier_one_of_it_was_revoked_by_hand() -> None:
    world = make_world()
    revoke_current(world.make_run(), NAME)
    world.rotate(NAME)
    world.advance(days=2)
    world.run()
    resume(world.make_run(), NAME)
    world.pats.pats[world.record().authorization_id].revoked = True
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]


def test_open_rotation_and_all_that_is_wrong_go_along_when_a_pat_is_renamed() -> None:
    world = make_overlapping(hours=1)
    location, before = world.location(), world.record()
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"))
    world.advance(hours=24)
    world.run()
    with world.database.read() as reading:
        since = {condition.kind: condition.since for condition in reading.conditions.load()}
    assert ConditionKind.ROTATION_FAILING in since
    world.advance(hours=1)
    renamed = rename(world.make_run(), NAME, "npm-publish")
    assert (renamed.name, renamed.secret_name) == ("npm-publish", before.secret_name)
    world.check_promises()
    with world.database.read() as reading:
        lasting = {condition.kind: condition for condition in reading.conditions.load()}
    assert lasting[ConditionKind.ROTATION_FAILING].subject == "npm-publish"
    assert lasting[ConditionKind.ROTATION_FAILING].since == since[ConditionKind.ROTATION_FAILING]
    world.advance(hours=1)
    world.run()
    assert world.states("npm-publish") == ["completed"]
    assert world.location("npm-publish") == location
    assert world.events()[-1] == world.events("npm-publish")[0] == "pat_renamed succeeded"
    with world.database.read() as reading:
        [told] = reading.audit.load_newest(1, AuditFilter(subject=NAME, event="pat_renamed"))
    assert (told.entry.details["old_name"], told.entry.details["new_name"]) == (NAME, "npm-publish")
    world.advance(days=25)
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["npm-publish"]


def test_interrupted_mint_is_recovered_under_the_new_name() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    world.advance(**LEASE)
    rename(world.make_run(), NAME, "npm-publish")
    world.run()
    assert world.states("npm-publish")[0] == "abandoned"
    assert len(world.revoked_ids()) == 1


def test_rename_is_refused_when_the_name_is_taken_or_a_run_works_on_the_pat() -> None:
    world = make_world("a", "b")
    for new_name in ("b", "a", "No Name", ""):
        with pytest.raises(UsageError):
            rename(world.make_run(), "a", new_name)
    with pytest.raises(UsageError):
        rename(world.make_run(), "ghost", "c")
    world.run()
    world.forget("b")
    with pytest.raises(UsageError, match="unfinished rotation"):
        rename(world.make_run(), "a", "b")
    with world.database.begin() as work:
        work.claims.claim("a", "another run", now=work.now(), span=world.timing.lease)
    with pytest.raises(ClaimHeldError):
        rename(world.make_run(), "a", "c")
    assert world.record("a").name == "a"


def test_run_that_was_planned_before_has_nothing_to_do_when_a_pat_was_renamed_meanwhile() -> None:
    world = make_world()
    world.database.interrupts["policy_changed"] = lambda: rename(world.make_run(), NAME, "npm-publish")
    world.run()
    assert world.states("npm-publish") == ["overlapping"]


def test_name_of_an_account_keeps_its_conditions_when_a_pat_of_the_same_name_is_renamed() -> None:
    world = make_world(ACCOUNT)
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("nobody is signed in", account=ACCOUNT)
    world.run()
    with world.database.read() as reading:
        before = [item for item in reading.conditions.load() if item.kind is ConditionKind.SIGN_IN_NEEDED]
    rename(world.make_run(), ACCOUNT, "other")
    with world.database.read() as reading:
        assert [item for item in reading.conditions.load() if item.kind is ConditionKind.SIGN_IN_NEEDED] == before
    assert before
