"""A revocation that did not happen: looked for, asked for again under the whole guard, told, and ended by proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.account import Identity
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.condition import ConditionKind
from rotator.domain.events.inventory import PatResumed
from rotator.domain.managed_pat import Hold, ManagedPatState, Pat
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.refusal import RefusalKind
from rotator.domain.secret_value import SecretValue
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.choices import Choice
from rotator.engine.claiming import claimed
from rotator.engine.keeping import forget, resume, revoke_current, revoke_previous
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.listing import ServerView
from rotator.engine.report import OutcomeKind, OutcomeReason, RunReport
from rotator.engine.revoking import (
    Sightings,
    accounts_again,
    confirm_requested,
    is_confirmed,
    revoke_again,
    save_sightings,
    sort_pending,
)
from rotator.engine.run import recover_interrupted, rotate_by_hand
from rotator.engine.scanning import scan
from rotator.engine.status import PatState
from rotator.errors import ClockSkewError, DeniedError, PlanRefusedError, RotatorError, TransientError, UsageError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from rotator.ports.permit import Permit, unclaimed
from rotator.ports.secret_store import WrittenVersion
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, VAULT, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import make_busy, make_overlapping
from tests.support.records import DAY
from tests.unit.test_engine_left_behind import make_failed, make_unproven


def ignore_revokes(world: EngineWorld, times: int) -> None:
    """Let the next revocations be answered as done, and do nothing."""
    left: Iterator[bool] = iter([True] * times)
    world.pats.ignores_revoke = lambda authorization_id: next(left, False)


def make_ignored(times: int = 1) -> tuple[EngineWorld, str]:
    """A rotation whose DELETE of the old PAT had no effect; and that PAT."""
    world = make_overlapping()
    old = world.rotations()[0].predecessor_id
    ignore_revokes(world, times)
    world.run()
    return world, old


def load_pending(world: EngineWorld) -> tuple[PendingRevocation, ...]:
    with world.database.read() as reading:
        return reading.revocations.load()


def pending_ids(world: EngineWorld) -> list[str]:
    return [item.authorization_id for item in load_pending(world)]


def is_told(world: EngineWorld, authorization_id: str) -> bool:
    """Whether the condition lasts that a person must look at."""
    with world.database.read() as reading:
        lasting = {(condition.kind, condition.subject) for condition in reading.conditions.load()}
    return (ConditionKind.REVOCATION_PENDING, authorization_id) in lasting


def settling_ids(report: RunReport) -> list[str | None]:
    return [outcome.pending_id for outcome in report.of_kind(OutcomeKind.SETTLING)]


def test_revocation_is_confirmed_in_the_same_run_when_the_server_lists_it_as_revoked() -> None:
    world = make_overlapping()
    report = world.run()
    assert names_of(report, OutcomeKind.RETIRED) == [NAME]
    assert (pending_ids(world), settling_ids(report)) == ([], [])
    assert world.events()[-4:] == [
        "revoke_started intended",
        "revocation_requested succeeded",
        "rotation_completed succeeded",
        "pat_revoked succeeded",
    ]


def test_old_pat_is_pending_when_its_revocation_had_no_effect() -> None:
    """The rotation is closed, the audit log does not say that the PAT is revoked, and the report names it."""
    world, old = make_ignored()
    assert world.states() == ["completed"]
    assert old in world.live_ids()
    assert pending_ids(world) == [old]
    assert world.events()[-2:] == ["revocation_requested succeeded", "rotation_completed succeeded"]
    assert "pat_revoked succeeded" not in world.events()


def test_pat_is_revoked_again_under_the_guard_when_it_lives_on() -> None:
    world, old = make_ignored()
    first = load_pending(world)[0]
    world.advance(minutes=6)
    marks = len(world.timeline)
    report = world.run()
    assert world.revoked_ids() == [old, old]
    order = [mark for mark in world.timeline[marks:] if mark in ("fetch_latest", "verify", "revoke_started", "revoke")]
    assert order == ["fetch_latest", "verify", "revoke_started", "revoke"]
    assert (pending_ids(world), settling_ids(report)) == ([], [])
    assert world.events()[-1] == "pat_revoked succeeded"
    assert first.rotation_id == world.rotations()[0].id
    world.check_rest()


def test_pat_is_left_alone_for_a_while_when_it_was_asked_for_often() -> None:
    """Three times without a wait; then the more often it was asked for in vain, the longer it waits."""
    world, old = make_ignored(times=9)
    for minutes, asked in ((0, 2), (0, 3), (4, 3), (1, 4), (9, 4), (1, 5)):
        world.advance(minutes=minutes)
        assert settling_ids(world.run()) == [old]
        assert world.revoked_ids() == [old] * asked
    assert load_pending(world)[0].requests == 5


def test_recovery_alone_revokes_again_when_nothing_else_was_interrupted() -> None:
    world, old = make_ignored()
    world.advance(minutes=6)
    recover_interrupted(world.make_run())
    assert (pending_ids(world), old in world.live_ids()) == ([], False)


def test_next_rotation_is_not_held_up_when_a_revocation_is_pending() -> None:
    world, old = make_ignored(times=9)
    world.advance(minutes=1)
    report = world.rotate(NAME)
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert world.states() == ["completed", "overlapping"]
    world.advance(minutes=6)
    world.run()
    assert world.revoked_ids() == [old, old]
    assert world.rotations()[1].predecessor_id in world.live_ids()


def test_person_is_told_when_it_is_pending_for_15_minutes_and_told_its_end() -> None:
    world, old = make_ignored(times=3)
    world.advance(minutes=14)
    world.run()
    assert not is_told(world, old)
    world.advance(minutes=1)
    world.run()
    assert is_told(world, old)
    world.advance(minutes=30)
    world.run()
    assert world.events(old) == ["revocation_unconfirmed unknown", "revocation_resolved succeeded"]
    assert not is_told(world, old)
    world.check_rest()


def test_pat_is_gone_when_the_server_twice_does_not_know_its_id() -> None:
    """One answer proves nothing: the server that gave it may be behind."""
    world, old = make_ignored(times=9)
    del world.pats.pats[old]
    for minutes in (0, 9):
        world.advance(minutes=minutes)
        world.run()
        assert pending_ids(world) == [old]
    world.advance(minutes=2)
    world.run()
    assert pending_ids(world) == []
    assert world.events()[-1] == "pat_revoked succeeded"


def test_pat_is_gone_when_it_has_expired() -> None:
    world, old = make_ignored(times=9)
    world.advance(days=12)
    assert old not in world.live_ids()
    world.run()
    assert pending_ids(world) == []


def hide(world: EngineWorld, authorization_id: str) -> None:
    """Let every list lack one entry, and not say so."""

    def lose(listed: tuple[Pat, ...]) -> tuple[Pat, ...]:
        return tuple(pat for pat in listed if pat.authorization_id != authorization_id)

    world.pats.change_listed = lose


def test_one_look_is_no_proof_when_the_lists_lack_a_pat_that_the_server_knows() -> None:
    """It is missed once, then seen; that takes the miss back."""
    world, old = make_ignored(times=9)
    hide(world, old)
    world.advance(minutes=1)
    world.run()
    assert load_pending(world)[0].missed_at == world.clock.now()
    world.pats.change_listed = None
    world.advance(minutes=2)
    world.run()
    assert load_pending(world)[0].missed_at is None
    hide(world, old)
    world.advance(minutes=12)
    world.run()
    assert pending_ids(world) == [old]


def test_two_looks_are_proof_when_they_are_some_time_apart() -> None:
    world, old = make_ignored(times=9)
    hide(world, old)
    for _ in range(2):
        world.advance(minutes=6)
        world.run()
        assert pending_ids(world) == [old]
    world.advance(minutes=6)
    world.run()
    assert pending_ids(world) == []


def test_nothing_is_decided_when_the_server_cannot_be_asked() -> None:
    world, old = make_ignored()
    hide(world, old)
    world.pats.fail("fetch_pat", TransientError("busy", service="azure_devops", operation="fetch_pat"), times=9)
    world.advance(minutes=6)
    report = world.run()
    assert (load_pending(world)[0].missed_at, settling_ids(report)) == (None, [old])
    assert report.of_kind(OutcomeKind.FAILED) != ()


def test_revocation_stays_pending_when_it_cannot_be_confirmed_at_once() -> None:
    """That is no failure of the run: the next one looks."""
    world = make_overlapping()
    busy = TransientError("busy", service="azure_devops", operation="list_pats")
    world.pats.fail("fetch_pats", busy, skip=1, times=1)
    report = world.run()
    assert (names_of(report, OutcomeKind.RETIRED), report.of_kind(OutcomeKind.FAILED)) == ([NAME], ())
    assert len(settling_ids(report)) == 1
    world.run()
    assert pending_ids(world) == []


def test_pat_is_not_revoked_again_when_somebody_else_wrote_the_secret() -> None:
    world, old = make_ignored()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(minutes=6)
    for _ in range(2):
        assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
        assert (world.revoked_ids(), pending_ids(world)) == ([old], [old])
        assert (world.record().blocked, world.record().hold) == (True, Hold.FOREIGN_WRITE)
        world.advance(hours=1)
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.finish()


def test_pat_is_not_revoked_again_when_its_secret_was_deleted_and_nothing_is_frozen_for_that() -> None:
    world, old = make_ignored()
    world.secrets.soft_delete(world.location())
    world.advance(minutes=6)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["clone_in_use"]
    assert (world.record().last_failure, pending_ids(world)) == (None, [old])
    world.secrets.recover(world.location())
    world.finish()


def test_rotation_is_frozen_by_its_own_guard_when_an_older_pat_lives_and_somebody_else_wrote_the_secret() -> None:
    world, old = make_ignored(times=9)
    world.rotate(NAME)
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(minutes=6)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["foreign_write"]
    assert (world.record().last_failure, world.states()[-1]) == (None, "overlapping")
    world.advance(hours=25)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    assert (world.states()[-1], old in world.live_ids()) == ("failed", True)


def test_pat_is_not_revoked_again_when_the_value_in_the_vault_is_dead() -> None:
    world, old = make_ignored()
    world.pats.pats[world.record().authorization_id].revoked = True
    for minutes in (6, 6):
        world.advance(minutes=minutes)
        report = world.run()
    assert "verification_failed" in codes_of(report, OutcomeKind.FAILED)
    assert (world.revoked_ids(), old in world.live_ids()) == ([old], True)


def test_pat_is_not_revoked_again_when_the_value_is_another_users() -> None:
    world, old = make_ignored()
    other = world.pats.add_pat("release-bot", ORGANIZATION, "theirs", "vso.code", world.record().valid_to)
    latest = world.latest()
    world.secrets.write_foreign(world.location(), other.value, latest.version.tags)
    world.advance(minutes=6)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["wrong_identity"]
    assert world.revoked_ids() == [old]


def test_value_that_is_no_pat_is_sent_nowhere_before_a_revocation_is_repeated() -> None:
    world, old = make_ignored()
    world.secrets.write_foreign(world.location(), "not a PAT", world.latest().version.tags)
    verified = world.count("verify")
    world.advance(minutes=6)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["not_a_pat"]
    assert (world.revoked_ids(), world.count("verify")) == ([old], verified)


def test_refusal_of_the_second_request_blocks_no_rotation() -> None:
    world, old = make_ignored()
    denied = DeniedError("no", service="azure_devops", operation="revoke_pat", status=200)
    world.pats.fail("revoke", denied)
    world.advance(minutes=6)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["denied"]
    assert (world.record().blocked, world.record().last_failure, pending_ids(world)) == (False, None, [old])


def test_old_pat_is_not_revoked_again_while_a_clone_that_the_server_calls_revoked_still_signs_in() -> None:
    """It is the only one that works."""
    world, old = make_ignored()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.pats.lingering.add(world.record().authorization_id)
    for _ in range(3):
        world.advance(minutes=11)
        world.run()
    assert world.revoked_ids() == [old]
    assert old in world.live_ids()


def test_clone_that_was_given_up_is_revoked_again_when_it_lives_on() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    ignore_revokes(world, 1)
    world.run()
    clone = world.rotations()[0].new_authorization_id
    assert pending_ids(world) == [clone]
    world.advance(minutes=6)
    world.run()
    assert pending_ids(world) == []
    assert world.revoked_ids()[:2] == [clone, clone]
    world.finish()


def test_clone_is_not_revoked_again_when_the_vault_hands_it_out() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    ignore_revokes(world, 1)
    recover_interrupted(world.make_run())
    clone = world.rotations()[0].new_authorization_id
    assert clone is not None
    tags = {"rotator-rotation-id": world.rotations()[0].id, "rotator-authorization-id": clone}
    world.secrets.write_foreign(world.location(), world.pats.pats[clone].value, tags)
    world.advance(minutes=6)
    report = recover_interrupted(world.make_run())
    assert codes_of(report, OutcomeKind.FAILED) == ["clone_in_use"]
    assert "the vault hands it out" in repr(report)
    assert world.revoked_ids() == [clone]


def test_late_mint_is_revoked_again_when_it_lives_on() -> None:
    world = make_world()
    late = world.mint_late()
    world.advance(hours=25)
    ignore_revokes(world, 9)
    world.run()
    world.run()
    assert late in pending_ids(world)
    world.pats.ignores_revoke = lambda authorization_id: False
    world.finish()


def test_pat_left_behind_is_pending_when_its_revocation_by_a_person_had_no_effect() -> None:
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    ignore_revokes(world, 1)
    revoke_left_behind(world.make_run(), left)
    assert pending_ids(world) == [left]
    with pytest.raises(UsageError, match="requested already") as caught:
        revoke_left_behind(world.make_run(), left)
    assert caught.value.code == "revocation_pending"
    world.advance(minutes=6)
    world.run()
    assert (pending_ids(world), left in world.live_ids()) == ([], False)


def test_unproven_mint_is_pending_when_its_revocation_had_no_effect() -> None:
    world, near = make_unproven()
    world.advance(hours=25)
    world.run()
    ignore_revokes(world, 1)
    revoke_left_behind(world.make_run(), near)
    assert pending_ids(world) == [near]
    world.finish()


def test_current_pat_is_revoked_again_when_a_person_revoked_it_without_effect() -> None:
    world = make_world()
    current = world.record().authorization_id
    ignore_revokes(world, 1)
    revoke_current(world.make_run(), NAME)
    assert pending_ids(world) == [current]
    assert current in world.live_ids()
    world.advance(minutes=6)
    world.run()
    assert world.revoked_ids() == [current, current]
    assert (pending_ids(world), world.record().hold) == ([], Hold.REVOKED_BY_HAND)
    assert world.record().state is ManagedPatState.PAUSED


def test_hold_stays_when_a_run_works_on_a_pat_that_a_person_revoked() -> None:
    """What it says is no failure that is over, although the PAT is not due."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    ignore_revokes(world, 9)
    revoke_current(world.make_run(), NAME)
    for _ in range(3):
        world.advance(minutes=30)
        world.run()
    assert world.record().hold is Hold.REVOKED_BY_HAND
    assert world.record().last_failure is not None


def test_old_pat_is_pending_when_a_person_ended_the_overlap_without_effect() -> None:
    world = make_overlapping(hours=1)
    old = world.rotations()[0].predecessor_id
    ignore_revokes(world, 1)
    assert revoke_previous(world.make_run(), NAME) == old
    assert pending_ids(world) == [old]
    world.finish()


def test_pat_is_only_looked_for_when_its_record_was_forgotten() -> None:
    """Told as left behind, never revoked; when a person has revoked it, that is over too."""
    world, old = make_ignored(times=9)
    forget(world.make_run(), NAME)
    for _ in range(3):
        world.advance(minutes=30)
        world.run()
    assert world.revoked_ids() == [old]
    assert world.events(old) == ["pat_left_behind unknown"]
    row = {item.authorization_id: item for item in world.show_status()}[old]
    assert row.last_error is not None
    assert (row.state, row.last_error.code, row.next_action) == (PatState.UNTRACKED, "left_behind", NextAction.NONE)
    assert "no longer managed" in row.last_error.message
    with pytest.raises(UsageError):
        revoke_left_behind(world.make_run(), old)
    world.pats.pats[old].revoked = True
    world.run()
    world.run()
    assert pending_ids(world) == []
    assert world.events(old) == ["pat_left_behind unknown", "left_behind_resolved succeeded"]


def test_pat_is_asked_for_again_when_a_server_that_was_behind_did_not_know_its_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, old = make_ignored(times=1)
    with monkeypatch.context() as patch:
        patch.setattr(world.pats, "fetch_pat", lambda account, organization, authorization_id: None)
        hide(world, old)
        world.advance(minutes=1)
        world.run()
    world.pats.change_listed = None
    assert pending_ids(world) == [old]
    world.advance(minutes=5)
    world.run()
    assert (pending_ids(world), old in world.live_ids()) == ([], False)


def test_revocation_goes_on_when_a_server_that_was_behind_did_not_know_the_old_pat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run died before its DELETE; that the id is unknown to one answer does not prove that it was carried out."""
    world = make_overlapping()
    old = world.rotations()[0].predecessor_id
    world.run_and_die(after="revoke_started")
    with monkeypatch.context() as patch:
        patch.setattr(world.pats, "fetch_pat", lambda account, organization, authorization_id: None)
        world.advance(minutes=6)
        recover_interrupted(world.make_run())
    assert old not in world.live_ids()


def test_hold_stays_when_a_rotation_of_a_pat_that_a_person_revoked_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes the secret meanwhile. The leaked PAT is not in use again: it is asked for until it is gone."""
    world = make_world()
    leaked = world.record().authorization_id
    ignore_revokes(world, 1)
    revoke_current(world.make_run(), NAME)
    store = world.secrets.store

    def store_and_lose(*args: Any, **fields: Any) -> WrittenVersion:
        stored = store(*args, **fields)
        world.secrets.write_foreign(world.location(), "theirs")
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(world.secrets, "store", store_and_lose)
        report = world.rotate(NAME)
    assert codes_of(report, OutcomeKind.BLOCKED) == ["foreign_write"]
    assert (world.record().hold, world.record().authorization_id) == (Hold.REVOKED_BY_HAND, leaked)
    world.advance(minutes=6)
    world.run()
    assert leaked not in world.live_ids()
    assert "revocation_dropped succeeded" not in world.events()
    with pytest.raises(UsageError, match="nothing to resume"):
        resume(world.make_run(), NAME)


def test_leaked_pat_is_asked_for_during_an_overlap_of_its_successor() -> None:
    """The record has lost its hold, so that the rotation has an overlap; what a person revoked is not kept for it."""
    world = make_world()
    leaked = world.record().authorization_id
    ignore_revokes(world, 1)
    revoke_current(world.make_run(), NAME)
    with claimed(world.make_run(), NAME) as held:
        held.save(replace(held.pat.healed(), state=ManagedPatState.ACTIVE))
    world.rotate(NAME)
    assert (world.states(), leaked in world.live_ids()) == (["overlapping"], True)
    world.advance(minutes=6)
    world.run()
    assert (leaked in world.live_ids(), pending_ids(world)) == (False, [])
    world.finish()
    assert world.states() == ["completed"]


def adopt_one(world: EngineWorld, authorization_id: str, choice: Choice | None = None) -> list[RefusalKind]:
    """Adopt a PAT by its id. Return why it was refused, if it was."""
    run = world.make_run()
    plan = adopt(run, propose(run, [authorization_id], everything=False, choice=choice))
    return [refusal.kind for refusal in plan.refusals]


def restore_old(world: EngineWorld, old: str) -> None:
    """A person puts the old value back into the secret, for a consumer that needs it."""
    world.secrets.write_foreign(world.location(), world.pats.pats[old].value)


def test_pat_is_never_revoked_when_another_was_adopted_under_the_name_of_its_forgotten_record() -> None:
    """The namesake's secret and identity say nothing about a PAT that the forgotten record's secret hands out."""
    world, old = make_ignored()
    restore_old(world, old)
    forget(world.make_run(), NAME)
    expiry = world.clock.now() + 5 * DAY
    other = world.pats.add_pat(ACCOUNT, "fabrikam", NAME, SCOPE, expiry, valid_from=expiry - 30 * DAY)
    assert adopt_one(world, other.pat.authorization_id) == []
    for _ in range(4):
        world.advance(hours=13)
        world.run()
    assert world.record().organization == "fabrikam"
    assert (world.revoked_ids().count(old), old in world.live_ids(), pending_ids(world)) == (1, True, [old])
    assert "left_behind_resolved succeeded" not in world.events(old)
    with pytest.raises(UsageError, match="no longer managed"):
        revoke_left_behind(world.make_run(), old)


@pytest.mark.parametrize("secret_name", [None, "npm-feed-2"])
def test_pat_is_never_revoked_when_its_successor_was_forgotten_and_adopted_again(secret_name: str | None) -> None:
    world, old = make_ignored()
    current = world.record().authorization_id
    if secret_name is not None:
        restore_old(world, old)
    forget(world.make_run(), NAME)
    assert adopt_one(world, current, Choice(name=NAME, secret_name=secret_name)) == []
    world.rotate(NAME)
    for _ in range(3):
        world.advance(hours=13)
        world.run()
    assert (world.revoked_ids().count(old), old in world.live_ids()) == (1, True)


@pytest.mark.parametrize("kind", ["abandoned", "by hand"])
def test_every_kind_is_detached_when_its_record_is_forgotten(kind: str) -> None:
    world = make_world()
    ignore_revokes(world, 1)
    if kind == "by hand":
        revoke_current(world.make_run(), NAME)
    else:
        denied = DeniedError("no", service="key_vault", operation="store", code="vault_denied")
        world.secrets.fail("store", denied)
        world.run()
    (pending,) = load_pending(world)
    forget(world.make_run(), NAME)
    expiry = world.clock.now() + 5 * DAY
    other = world.pats.add_pat(ACCOUNT, ORGANIZATION, "other", SCOPE, expiry, valid_from=expiry - 30 * DAY)
    assert adopt_one(world, other.pat.authorization_id, Choice(name=NAME)) == []
    for _ in range(3):
        world.advance(hours=13)
        world.run()
    assert pending.kind.value == kind
    assert world.revoked_ids().count(pending.authorization_id) == 1


def test_pat_cannot_be_adopted_while_a_slow_run_is_about_to_revoke_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard takes long, and the process is suspended right before its request."""
    world, old = make_ignored()
    world.advance(minutes=20)
    verify, revoke, refused = world.pats.verify, world.pats.revoke, list[list[RefusalKind]]()

    def verify_slowly(organization: str, value: SecretValue) -> Identity:
        world.clock.advance(timedelta(seconds=90))
        return verify(organization, value)

    def revoke_late(account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        permit()
        world.clock.advance(world.timing.lease - timedelta(seconds=30))
        refused.append(adopt_one(world, old, Choice(name="other", secret_name="other")))
        return revoke(account, organization, authorization_id, permit=unclaimed)

    monkeypatch.setattr(world.pats, "verify", verify_slowly)
    monkeypatch.setattr(world.pats, "revoke", revoke_late)
    world.run()
    assert refused == [[RefusalKind.BEING_REVOKED]]
    assert pending_ids(world) == []


def test_pat_cannot_be_adopted_when_its_revocation_was_just_requested_by_a_host_whose_clock_is_behind() -> None:
    """Both read the database's clock."""
    world, old = make_ignored()
    world.advance(minutes=20)
    ignore_revokes(world, 1)
    world.host_clock.ahead = timedelta(minutes=-1)
    world.run()
    world.host_clock.ahead = timedelta(minutes=5)
    assert load_pending(world)[0].requested_at == world.clock.now()
    assert adopt_one(world, old, Choice(name="other", secret_name="other")) == [RefusalKind.BEING_REVOKED]


def test_pat_is_not_adopted_while_the_request_to_revoke_it_may_still_take_effect() -> None:
    """A lease is shorter than `rotation.settle`, for which a request without an answer may take effect."""
    world, old = make_ignored()
    world.pats.postpone_revoke()
    world.run()
    world.advance(minutes=6)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == [RefusalKind.BEING_REVOKED]
    assert world.pats.apply_late() == 1
    assert old not in world.live_ids()


def test_pat_is_not_adopted_while_whoever_requested_its_revocation_may_have_its_claim() -> None:
    """A process that froze before it sent the request sends it when it wakes up."""
    world, old = make_ignored()
    world.timing = replace(world.timing, lease=timedelta(minutes=20))
    world.advance(minutes=15)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == [RefusalKind.BEING_REVOKED]


def test_pat_is_not_adopted_by_a_person_whose_host_is_fast_while_the_request_to_revoke_it_is_new() -> None:
    world, old = make_ignored()
    world.host_clock.ahead = world.database.skew = timedelta(days=40)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == [RefusalKind.BEING_REVOKED]


def test_pat_is_adopted_once_the_request_to_revoke_it_is_old_by_the_clock_that_dated_it() -> None:
    """The database's, which is two days ahead of all others."""
    world = make_overlapping()
    old = world.rotations()[0].predecessor_id
    world.database.skew, world.database.clocks.has_clock = timedelta(days=2), True
    ignore_revokes(world, 1)
    world.run()
    assert pending_ids(world) == [old]
    world.advance(minutes=9)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == [RefusalKind.BEING_REVOKED]
    world.advance(minutes=2)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == []


def test_pat_is_not_adopted_while_a_request_that_a_slow_host_dated_may_still_take_effect() -> None:
    """`rotator revoke` on a host as slow as clocks may be gets no answer; only the audit log tells of it."""
    world = make_overlapping()
    world.run()
    world.advance(days=1)
    current = world.record().authorization_id
    world.database.clocks.has_clock = True
    world.host_clock.ahead = timedelta(seconds=-55)
    world.pats.postpone_revoke()
    with suppress(RotatorError):
        revoke_current(world.make_run(), NAME)
    world.host_clock.ahead = timedelta(0)
    forget(world.make_run(), NAME)
    world.advance(minutes=9, seconds=20)
    assert adopt_one(world, current) == [RefusalKind.BEING_REVOKED]
    world.advance(minutes=2)
    assert adopt_one(world, current) == []


# What a fast clock dated does not bind until that time has come.


def make_dated_ahead() -> tuple[EngineWorld, str]:
    """A DELETE without effect, while the host's clock was set ten years ahead; it is right again. And that PAT."""
    world = make_overlapping()

    def set_ahead(_: str) -> bool:
        world.host_clock.ahead = world.database.skew = timedelta(days=3650)
        return True

    world.pats.ignores_revoke = set_ahead
    with suppress(RotatorError):
        world.run()
    world.heal()
    world.pats.ignores_revoke = lambda authorization_id: True
    [pending] = load_pending(world)
    assert pending.since > world.clock.now() + timedelta(days=3000)
    return world, pending.authorization_id


def test_person_is_told_of_a_revocation_without_effect_although_a_fast_clock_dated_its_answer() -> None:
    world, old = make_dated_ahead()
    world.advance(minutes=6)
    world.run()
    assert load_pending(world)[0].since == world.clock.now()
    assert not is_told(world, old)
    world.advance(minutes=15)
    world.run()
    assert is_told(world, old)


def test_pat_is_adopted_ten_minutes_after_a_run_although_a_fast_clock_dated_the_request_to_revoke_it() -> None:
    world, old = make_dated_ahead()
    world.advance(minutes=6)
    world.forget()
    world.run()
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == [RefusalKind.BEING_REVOKED]
    world.advance(minutes=12)
    assert adopt_one(world, old, Choice(name="again", secret_name="again")) == []


def test_second_look_is_proof_although_a_fast_clock_dated_the_first_one() -> None:
    world, old = make_dated_ahead()
    hide(world, old)
    with world.database.begin() as work:
        work.revocations.note_missed(old, world.clock.now() + timedelta(days=3650))
    world.advance(minutes=6)
    world.run()
    assert pending_ids(world) == [old]
    world.advance(minutes=11)
    world.run()
    assert pending_ids(world) == []


def test_it_is_over_when_it_expired_and_its_account_is_no_more() -> None:
    world, old = make_ignored(times=9)
    forget(world.make_run(), NAME)
    world.accounts = world.accounts[1:]
    world.run()
    assert pending_ids(world) == [old]
    world.advance(days=40)
    world.run()
    assert pending_ids(world) == []


def test_pending_pat_is_not_adopted_when_all_are() -> None:
    world, old = make_ignored(times=9)
    world.advance(minutes=6)
    plan = propose(world.make_run(), [], everything=True)
    assert plan.proposals == ()
    assert [refusal.reference for refusal in plan.refusals] == [old]


def test_revocation_ends_when_a_person_adopts_the_pat_by_its_id() -> None:
    world, old = make_ignored(times=9)
    world.advance(minutes=1)
    run = world.make_run()
    refused = adopt(run, propose(run, [old], everything=False))
    assert (refused.proposals, [item.reference for item in refused.refusals]) == ((), [old])
    world.advance(minutes=10)
    adopted = adopt(run, propose(run, [old], everything=False))
    assert [item.record.authorization_id for item in adopted.proposals] == [old]
    assert pending_ids(world) == []
    assert world.events()[-1] == "revocation_dropped succeeded"
    world.advance(minutes=30)
    world.run()
    assert world.revoked_ids() == [old]
    assert old in [fake.pat.authorization_id for fake in world.pats.live_pats()]


def test_revocation_ends_when_a_record_names_the_pat_again() -> None:
    """As after a rebuild. The run that sees it revokes nothing."""
    world, old = make_ignored(times=9)
    record = replace(world.record(), name="other", authorization_id=old, secret_name="other", vault=VAULT)
    with world.database.begin() as work:
        work.inventory.add(replace(record, state=ManagedPatState.PAUSED))
    world.advance(minutes=30)
    world.run()
    assert (pending_ids(world), world.revoked_ids()) == ([], [old])
    assert world.events()[-1] == "revocation_dropped succeeded"


def test_pat_is_not_revoked_again_when_a_record_names_it_at_the_last_moment() -> None:
    """The transaction that writes the intent asks once more who accounts for it."""
    world, old = make_ignored(times=9)
    (pending,) = load_pending(world)
    world.advance(minutes=6)
    record = replace(world.record(), name="other", authorization_id=old, secret_name="other", epoch=0)
    run = world.make_run()
    with claimed(run, NAME) as held:
        with world.database.begin() as work:
            work.inventory.add(replace(record, state=ManagedPatState.PAUSED))
        with pytest.raises(PlanRefusedError, match="other accounts for it"):
            revoke_again(held, ServerView(run), pending)
    assert world.revoked_ids() == [old]
    assert load_pending(world) == (pending,)


def test_pat_is_not_revoked_again_when_its_revocation_is_over_at_the_last_moment() -> None:
    world, old = make_ignored(times=9)
    (pending,) = load_pending(world)
    world.advance(minutes=6)
    run = world.make_run()
    with claimed(run, NAME) as held:
        with world.database.begin() as work:
            assert work.revocations.end(old)
        with pytest.raises(PlanRefusedError, match="is over"):
            revoke_again(held, ServerView(run), pending)
    assert world.revoked_ids() == [old]


def test_status_and_scan_tell_what_is_pending() -> None:
    world, old = make_ignored(times=9)
    world.run()
    rows = {row.authorization_id: row for row in world.show_status()}
    assert rows[old].state is PatState.UNTRACKED
    assert rows[old].next_action is NextAction.CONFIRM_REVOCATION
    assert rows[old].last_error is not None
    error = rows[old].last_error
    assert error is not None
    assert "should have been revoked" in error.message
    current = rows[world.record().authorization_id]
    assert (current.state, current.next_action) == (PatState.OK, NextAction.CONFIRM_REVOCATION)
    kinds = {entry.authorization_id: entry.kind.value for entry in scan(world.make_run()).entries}
    assert kinds[old] == "pending_revocation"


def test_report_says_which_revocation_is_not_confirmed() -> None:
    world, old = make_ignored(times=9)
    world.advance(minutes=1)
    (outcome,) = world.run().outcomes
    assert (outcome.kind, outcome.reason) == (OutcomeKind.SETTLING, OutcomeReason.REVOCATION_UNCONFIRMED)
    assert (outcome.pending_id, outcome.rotation_id) == (old, world.rotations()[0].id)


@pytest.mark.parametrize("mark", ["revocation_requested", "completed"])
def test_revocation_is_asked_for_again_when_the_run_dies_around_its_answer(mark: str) -> None:
    world = make_overlapping()
    old = world.rotations()[0].predecessor_id
    ignore_revokes(world, 1)
    world.run_and_die(before=mark)
    world.advance(minutes=6)
    world.run()
    world.advance(minutes=6)
    world.run()
    assert (pending_ids(world), old in world.live_ids()) == ([], False)
    world.check_rest()


def test_revocation_is_asked_for_again_when_a_run_dies_between_the_second_intent_and_its_request() -> None:
    world, old = make_ignored(times=1)
    world.advance(minutes=6)
    world.run_and_die(after="revoke_started")
    assert load_pending(world)[0].requests == 2
    world.advance(minutes=11)
    world.run()
    assert (pending_ids(world), old in world.live_ids()) == ([], False)


def test_pat_that_lives_stays_pending_when_a_fast_clock_calls_it_expired_and_one_list_lacks_it() -> None:
    world, old = make_ignored()
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id != old)
    world.advance(minutes=6)
    world.host_clock.ahead = world.database.skew = timedelta(days=3650)
    with pytest.raises(ClockSkewError):
        world.run()
    assert pending_ids(world) == [old]
    world.pats.change_listed = None
    world.host_clock.ahead = world.database.skew = timedelta(0)
    world.advance(minutes=6)
    world.run()
    assert pending_ids(world) == []
    assert old not in world.live_ids()


def test_two_looks_are_no_proof_when_a_wrong_clock_dates_one_of_them() -> None:
    world, old = make_ignored(times=9)
    hide(world, old)
    world.host_clock.ahead = timedelta(days=-2)
    with pytest.raises(ClockSkewError):
        world.run()
    assert [item.missed_at for item in load_pending(world)] == [None]
    world.host_clock.ahead = timedelta(0)
    world.run()
    world.host_clock.ahead = timedelta(days=2)
    with pytest.raises(ClockSkewError):
        world.run()
    assert pending_ids(world) == [old]


def list_told(world: EngineWorld, *events: str) -> list[dict[str, Any]]:
    """What the audit log says with each of these events."""
    told = [event.entry for event in load_events(world.database, AuditFilter(subject=NAME))]
    return [{"event": entry.event, **entry.details} for entry in told if entry.event in events]


def ask_again(world: EngineWorld, **changes: Any) -> list[str]:
    """Revoke the one pending PAT again, changed like this; the ids that were to be revoked since."""
    run, before = world.make_run(), len(world.revoked_ids())
    with claimed(run, NAME) as held:
        revoke_again(held, ServerView(run), replace(load_pending(world)[0], **changes))
    return world.revoked_ids()[before:]


def test_second_request_is_told_with_its_pat_why_and_what_it_belongs_to() -> None:
    world, old = make_ignored()
    world.advance(minutes=6)
    world.pats.fail("revoke", DeniedError("no", service="azure_devops", operation="revoke_pat", status=200))
    world.run()
    failed = list_told(world, "revocation_failed")[-1]
    assert (failed["authorization_id"], failed["code"]) == (old, "denied")
    world.advance(minutes=6)
    world.run()
    told = list_told(world, "revoke_started", "revocation_requested", "pat_revoked")[-3:]
    assert [entry["event"] for entry in told] == ["revoke_started", "revocation_requested", "pat_revoked"]
    assert {(entry["authorization_id"], entry["why"]) for entry in told} == {(old, "rotated")}
    assert told[0]["code"] == "revocation_unconfirmed"
    place = (ACCOUNT, ORGANIZATION, world.rotations()[0].id)
    assert (told[2]["account"], told[2]["organization"], told[2]["rotation_id"]) == place


def test_end_of_a_revocation_names_no_rotation_when_none_asked_for_it() -> None:
    world = make_world()
    revoke_current(world.make_run(), NAME)
    (told,) = list_told(world, "pat_revoked")
    assert (told["account"], told["organization"], "rotation_id" in told) == (ACCOUNT, ORGANIZATION, False)


def test_end_of_a_revocation_names_the_record_that_uses_the_pat_again() -> None:
    world, old = make_ignored(times=9)
    run = world.make_run()
    with claimed(run, NAME) as held:
        held.save(replace(held.pat, authorization_id=old), PatResumed())
    save_sightings(run, Sightings())
    (told,) = list_told(world, "revocation_dropped")
    assert (told["authorization_id"], told["by"], pending_ids(world)) == (old, NAME, [])


@pytest.mark.parametrize("state", ["stored", "overlapping"])
def test_pat_is_not_revoked_again_while_a_rotation_needs_it_or_asks_first(state: str) -> None:
    world, _ = make_ignored(times=9)
    world.advance(minutes=6)
    if state == "stored":
        world.database.dies_after = "stored"
        with pytest.raises(ProcessDied):
            world.rotate(NAME)
        world.database.revive()
        world.advance(minutes=6)
        assert ask_again(world) == []
    else:
        world.rotate(NAME)
        assert ask_again(world, authorization_id=world.rotations()[1].predecessor_id) == []


@pytest.mark.parametrize("seconds", [-30, 60])
def test_pat_is_not_asked_for_again_soon_after_many_requests_whatever_the_clocks_differ(seconds: int) -> None:
    world, _ = make_ignored(times=9)
    asked = world.clock.now() + timedelta(seconds=seconds)
    assert ask_again(world, requests=9, requested_at=asked) == []
    assert ask_again(world, requests=9, requested_at=asked + timedelta(minutes=2)) != []


def test_pat_is_not_revoked_again_by_the_witnesses_time() -> None:
    world, old = make_ignored()
    run = replace(world.make_run(), is_reckoned=True)
    with pytest.raises(ClockSkewError), claimed(run, NAME) as held:
        revoke_again(held, ServerView(run), load_pending(world)[0])
    assert world.revoked_ids() == [old]


@pytest.mark.parametrize("other", [{"record_id": "another"}, {"organization": "fabrikam"}, {"secret_name": "another"}])
def test_pat_is_not_revoked_again_for_a_namesake_of_its_record(other: dict[str, str]) -> None:
    """Another account is no sign of one: a record that has moved is the same."""
    world, _ = make_ignored()
    with pytest.raises(PlanRefusedError, match=f"{NAME} is another managed PAT now"):
        ask_again(world, **other)


@pytest.mark.parametrize("is_confirmed_by_a_person", [False, True])
def test_nothing_is_frozen_when_the_secret_holds_what_we_wrote_or_a_person_confirmed(
    is_confirmed_by_a_person: bool,
) -> None:
    world, old = make_ignored()
    tags = {"rotator-rotation-id": world.rotations()[0].id, "rotator-authorization-id": old}
    value = world.pats.pats[old].value
    written = world.secrets.write_foreign(world.location(), value, None if is_confirmed_by_a_person else tags)
    if is_confirmed_by_a_person:
        with claimed(world.make_run(), NAME) as held:
            held.save(replace(held.pat, confirmed_version=written), PatResumed())
    with pytest.raises(PlanRefusedError, match="does not hold the value of"):
        ask_again(world)


@pytest.mark.parametrize(
    ("kind", "is_detached", "expected"),
    [
        (RevocationKind.BY_HAND, False, False),
        (RevocationKind.BY_HAND, True, True),
        (RevocationKind.ABANDONED, False, True),
    ],
)
def test_record_accounts_for_its_pat_again_unless_a_person_revoked_it(
    kind: RevocationKind, is_detached: bool, expected: bool
) -> None:
    world, old = make_ignored()
    record = replace(world.record(), authorization_id=old)
    (pending,) = load_pending(world)
    changed = replace(pending, kind=kind, record_id=None if is_detached else pending.record_id)
    assert accounts_again(record, changed) == expected


def make_ours_ignored() -> tuple[EngineWorld, str]:
    """As `make_ignored`, for an old PAT that is a clone of ours, with its value in an older version of the secret."""
    world = make_overlapping()
    world.run()
    world.advance(days=25)
    world.run()
    old = world.rotations()[-1].predecessor_id
    world.advance(hours=25)
    ignore_revokes(world, 9)
    world.run()
    return world, old


def miss_twice(world: EngineWorld, missed: str) -> None:
    """Two looks with time between them find it in no list; the server shows it by its id."""
    hide(world, missed)
    for _ in range(2):
        world.advance(minutes=11)
        world.run()


def test_revocation_is_asked_for_again_when_all_lists_lack_the_pat_and_its_value_signs_in() -> None:
    world, old = make_ours_ignored()
    miss_twice(world, old)
    assert (pending_ids(world), world.revoked_ids().count(old)) == ([old], 2)
    world.pats.change_listed, world.pats.ignores_revoke = None, lambda _: False
    world.advance(minutes=11)
    world.run()
    assert pending_ids(world) == []
    assert old not in world.live_ids()


@pytest.mark.parametrize("spoil", ["the value is refused", "the version is disabled"])
def test_revocation_is_over_when_two_looks_miss_the_pat_and_its_value_proves_nothing(spoil: str) -> None:
    world, old = make_ours_ignored()
    if spoil == "the value is refused":
        world.pats.pats[old].value = "not accepted"
    else:
        world.secrets.disable(
            world.location(), world.secrets.versions_of(world.location())[1].version.version, permit=unclaimed
        )
    miss_twice(world, old)
    assert pending_ids(world) == []


def test_revocation_stays_pending_while_the_value_cannot_be_tried() -> None:
    world, old = make_ours_ignored()
    hide(world, old)
    world.advance(minutes=11)
    world.run()
    world.pats.fail("verify", make_busy("verify"), times=9)
    world.advance(minutes=11)
    world.run()
    assert (pending_ids(world), world.revoked_ids().count(old)) == ([old], 1)


def test_miss_is_taken_back_when_nothing_else_is_news() -> None:
    world, old = make_ignored(times=9)
    hide(world, old)
    world.advance(minutes=1)
    world.run()
    (missed,) = load_pending(world)
    assert missed.missed_at is not None
    save_sightings(world.make_run(), Sightings(alive=[missed]))
    assert load_pending(world)[0].missed_at is None


@pytest.mark.parametrize("is_back", [True, False])
def test_pat_is_alive_or_may_be_hidden_when_only_the_first_list_lacks_it(is_back: bool) -> None:
    """Long after a first look missed it: what one of two lists shows, or may hide, is not gone."""
    world, old = make_ignored(times=9)
    pending = replace(load_pending(world)[0], missed_at=world.clock.now() - timedelta(hours=1))
    unreadable = iter([() if is_back else (old,)])
    world.pats.change_listed = lambda pats: PatList(
        [pat for pat in pats if pat.authorization_id != old], next(unreadable, ())
    )
    run, found = world.make_run(), Sightings()
    view = ServerView(run)
    listing = view.fetch_listing(ACCOUNT, ORGANIZATION)
    if is_back:
        world.pats.change_listed = None
    sort_pending(run, view, listing, [pending], found)
    assert (found.gone, found.alive, found.missed) == ([], [pending] * is_back, [pending] * (not is_back))


def test_pat_is_missed_and_not_gone_when_only_the_list_of_the_closer_look_may_hide_it() -> None:
    world, old = make_ignored(times=9)
    pending = replace(load_pending(world)[0], missed_at=world.clock.now() - timedelta(hours=1))
    run, found = world.make_run(), Sightings()
    view = ServerView(run)
    hide(world, old)
    listing = view.fetch_listing(ACCOUNT, ORGANIZATION)
    world.pats.change_listed = lambda pats: PatList([pat for pat in pats if pat.authorization_id != old], [old])
    sort_pending(run, view, listing, [pending], found)
    assert (found.gone, found.alive, found.missed) == ([], [], [pending])


def test_two_looks_are_proof_when_they_are_exactly_the_settle_time_apart() -> None:
    world, old = make_ignored(times=9)
    hide(world, old)
    world.run()
    world.clock.advance(world.timing.settle)
    world.run()
    assert pending_ids(world) == []


@pytest.mark.parametrize("fails", [False, True])
def test_revocations_of_each_organization_are_confirmed_when_one_cannot_be_asked(fails: bool) -> None:
    world = make_world()
    world.add_managed("other", organization="fabrikam")
    run = world.make_run()
    ids = [world.record(name).authorization_id for name in (NAME, "other")]
    ignore_revokes(world, 2)
    for name in (NAME, "other"):
        revoke_current(run, name)
    assert not any(is_confirmed(run, found) for found in ids)
    for found in ids:
        world.pats.pats[found].revoked = True
    if fails:
        world.pats.fail("fetch_pats", TransientError("busy", service="azure_devops", operation="list_pats"))
    confirm_requested(run, ServerView(run), world.clock.now())
    assert len(pending_ids(world)) == fails
    assert [is_confirmed(run, found) for found in ids] == [found not in pending_ids(world) for found in ids]


def test_revocation_is_not_repeated_while_the_old_value_is_on_top_with_our_tags() -> None:
    """Somebody rolled the secret back together with its tags, and consumers read the old PAT again."""
    world = make_world()
    old, old_value = world.record().authorization_id, world.latest().value.reveal()
    world.pats.ignores_revoke = lambda *_: True
    world.run()
    world.advance(hours=25)
    world.run()
    ours = world.latest()
    world.secrets.write_foreign(world.location(), old_value, dict(ours.version.tags))
    world.pats.ignores_revoke = lambda *_: False
    for _ in range(3):
        world.advance(hours=1)
        world.run()
    assert not world.pats.pats[old].revoked
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    world.secrets.write_foreign(world.location(), ours.value.reveal(), dict(ours.version.tags))
    world.advance(hours=7)
    world.run()
    assert world.pats.pats[old].revoked


def test_record_is_not_blocked_when_our_version_cannot_be_compared_with_the_copy_above_it() -> None:
    """A tool copies the secret and disables what it copied: consumers read the right value, which nothing proves."""
    world = make_world()
    old = world.record().authorization_id
    world.pats.ignores_revoke = lambda *_: True
    world.run()
    world.advance(hours=25)
    world.run()
    ours = world.latest()
    world.secrets.write_foreign(world.location(), ours.value.reveal(), dict(ours.version.tags))
    world.secrets.disable(world.location(), ours.version.version, permit=unclaimed)
    world.pats.ignores_revoke = lambda *_: False
    for _ in range(3):
        world.advance(hours=1)
        assert codes_of(world.run(), OutcomeKind.FAILED) == ["clone_in_use"]
    assert not world.pats.pats[old].revoked
    assert not world.record().blocked


def test_person_ends_a_revocation_that_a_rolled_back_secret_holds_up_by_rotating() -> None:
    """What consumers read would expire with the old PAT, and nothing else would mend that before."""
    world = make_world()
    old, old_value = world.record().authorization_id, world.latest().value.reveal()
    world.pats.ignores_revoke = lambda *_: True
    world.run()
    world.advance(hours=25)
    world.run()
    world.secrets.write_foreign(world.location(), old_value, dict(world.latest().version.tags))
    world.pats.ignores_revoke = lambda *_: False
    world.advance(hours=1)
    world.run()
    rotate_by_hand(world.make_run(), [NAME])
    world.advance(hours=25)
    world.run()
    assert world.pats.pats[old].revoked
    world.finish()


def test_pending_revocation_of_an_account_that_is_gone_outlives_a_wrong_clock() -> None:
    """Nobody can look for it any more, so it is reported until it expires: not until some host's clock says so."""
    world, old = make_ignored(times=100)
    world.accounts = world.accounts[1:]
    world.host_clock.ahead = timedelta(days=400)
    with pytest.raises(ClockSkewError):
        world.run()
    world.heal()
    world.run()
    assert old in world.live_ids()
    assert pending_ids(world) == [old]
    world.advance(days=40)
    world.run()
    assert pending_ids(world) == []
