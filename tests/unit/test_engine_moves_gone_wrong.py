"""A ManagedPat moves to another account, and something goes wrong before, while or after it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.engine.adopting import adopt, propose
from rotator.engine.left_behind import load_left_behind, revoke_left_behind
from rotator.engine.looking import look
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.engine.run import recover_interrupted, work_on_due
from rotator.engine.status import PatState
from rotator.engine.updating import Change, preview, update
from rotator.errors import (
    DatabaseBehindError,
    DeniedError,
    PlanRefusedError,
    RotationError,
    RotatorError,
    SignInRequiredError,
)
from tests.support.engine import ACCOUNT, NAME, OVERLAP, SCOPE, EngineWorld, codes_of, make_world
from tests.support.engine_fakes import ProcessDied
from tests.support.moves import HEIR, MOVE, leave, make_current, make_left, move, owners
from tests.support.policies import RULE, make_policy


def tick(world: EngineWorld) -> None:
    """The daemon's work of each minute."""
    world.watch(lambda: work_on_due(world.make_run()))


def check_revocation_without_effect(world: EngineWorld) -> None:
    """Move it, let the overlap end, and let each DELETE be answered without effect: that is seen by its own account."""
    old = world.record().authorization_id
    move(world)
    world.pats.ignores_revoke = lambda found: found == old
    world.advance(hours=25)
    tick(world)
    assert old in world.revoked_ids()
    for _ in range(3):
        world.advance(minutes=11)
        tick(world)
    assert old in world.live_ids(), "it was never revoked"
    assert world.events()[-1] != "pat_revoked succeeded", "the audit log says that it was"
    assert f"PendingRevocation(authorization_id='{old}'" in world.database.dump(), "nobody looks for it any more"
    world.pats.ignores_revoke = lambda found: False
    for _ in range(4):
        world.advance(minutes=11)
        tick(world)
    assert old not in world.live_ids()
    assert f"PendingRevocation(authorization_id='{old}'" not in world.database.dump()


def test_old_adopted_pat_of_a_move_that_lives_is_not_called_revoked() -> None:
    check_revocation_without_effect(make_world())


def test_old_pat_of_a_move_whose_version_was_disabled_is_not_called_revoked() -> None:
    world = make_current(policy=make_policy(replace(RULE, overlap=OVERLAP, disable_previous=True)))
    check_revocation_without_effect(world)


def make_left_and_moved() -> tuple[EngineWorld, str]:
    """Its account's user was disabled, and it was moved: the old PAT lives, in its overlap."""
    world = make_left()
    old = world.record().authorization_id
    move(world)
    assert world.states()[-1] == "overlapping"
    return world, old


def settle(world: EngineWorld) -> None:
    """Run for two days."""
    for _ in range(6):
        world.advance(hours=8)
        world.run()


def check_reported(world: EngineWorld, old: str) -> None:
    """The old PAT lives, and `status` and `recover --dry-run` say so."""
    assert old in world.live_ids()
    assert not any(rotation.is_open for rotation in world.rotations())
    with world.database.read() as reading:
        left = [item.pat.authorization_id for item in load_left_behind(reading, world.clock.now())]
    shown = [row.authorization_id for row in world.show_status() if row.state is PatState.UNTRACKED]
    assert old in left, f"recover shows {left}"
    assert old in shown, f"status shows {shown}"


def test_old_pat_is_reported_after_a_foreign_write_froze_the_move() -> None:
    world, old = make_left_and_moved()
    world.secrets.write_foreign(world.location(), "something else")
    settle(world)
    assert world.states()[-1] == "failed"
    world.rotate(NAME)  # a person has found out who wrote it, as the fix says
    settle(world)
    assert world.record().last_failure is None
    check_reported(world, old)


def test_old_pat_is_reported_after_somebody_revoked_the_clone_of_the_move() -> None:
    world, old = make_left_and_moved()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    world.advance(minutes=11)
    world.run()
    assert world.states()[-1] == "failed"
    world.rotate(NAME)
    settle(world)
    check_reported(world, old)


def test_old_pat_is_reported_and_can_be_revoked_after_the_revocation_of_its_clone_was_frozen() -> None:
    """A person wants the clone of the move revoked; what is journaled of that still says whose the old PAT is."""
    world = make_current()
    old = world.record().authorization_id
    world.database.dies_after = "stored"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    clone = next(found for found in world.live_ids() if found != old)
    stored = world.secrets.versions_of(world.location())[0]
    for hours in (1, 25):
        world.secrets.write_foreign(world.location(), "something else")
        world.advance(hours=hours)
        world.run()
        world.rotate(NAME)
    settle(world)
    assert world.states() == ["completed", "failed", "failed", "completed"]
    world.secrets.write_foreign(world.location(), stored.value.reveal(), dict(stored.version.tags))
    with pytest.raises(DatabaseBehindError):
        revoke_left_behind(world.make_run(), clone)
    assert world.states()[-1] == "failed"
    check_reported(world, clone)
    check_reported(world, old)
    revoke_left_behind(world.make_run(), old)
    assert (old in world.live_ids(), owners(world)[clone]) == (False, HEIR)


def test_old_pat_is_reported_after_the_record_left_the_inventory_during_the_move() -> None:
    world, old = make_left_and_moved()
    world.forget()
    settle(world)
    check_reported(world, old)


def test_old_pat_is_reported_after_a_rebuild_closed_the_move() -> None:
    world, old = make_left_and_moved()
    restore = world.database.back_up()
    settle(world)
    world.rotate(NAME)
    restore()
    run = world.make_run()
    rebuild(run, look(run))
    settle(world)
    check_reported(world, old)


def take_out(world: EngineWorld) -> None:
    """The settings do not name the new account any more."""
    world.accounts = tuple(account for account in world.accounts if account.name != HEIR)


def disable(world: EngineWorld) -> None:
    """The new account's user is disabled."""
    world.sign_in.refusals[HEIR] = SignInRequiredError("the user is disabled", account=HEIR, fix="Sign in.")
    world.pats.signed_out.add(HEIR)


@pytest.mark.parametrize(("lose", "is_waited_for"), [(take_out, False), (disable, True)])
def test_pat_whose_move_cannot_be_made_any_more_is_rotated_by_its_own_account_before_it_expires(
    lose: Callable[[EngineWorld], None], is_waited_for: bool
) -> None:
    world = make_current()
    world.database.dies_before = "rotation_planned"
    with pytest.raises(ProcessDied):
        update(world.make_run(), MOVE)
    world.database.revive()
    assert world.record().wanted_account == HEIR
    lose(world)
    world.advance(hours=5)
    world.run()
    assert (world.record().wanted_account == HEIR) is is_waited_for, "a sign-in may come until the PAT is due"
    for _ in range(5 * 31):
        world.advance(hours=5)
        world.run()
        assert world.is_live(), (world.record().wanted_account, world.record().last_failure)
    assert world.record().wanted_account is None


def test_denial_of_the_old_accounts_request_does_not_keep_the_new_accounts_pats_from_being_worked_on() -> None:
    world = make_current()
    move(world)
    world.advance(minutes=1)
    world.add_managed("zeta", account=HEIR)
    old = world.record("zeta").authorization_id
    world.run()
    assert world.states("zeta") == ["overlapping"]
    world.advance(hours=25)
    denied = DeniedError("no rights", service="azure_devops", operation="revoke", status=403, fix="Ask.")
    world.pats.fail("revoke", denied)  # the first one, as the old account
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["denied"]
    assert codes_of(report, OutcomeKind.FAILED) == [], "nobody denied anything to that account"
    assert old not in world.live_ids("zeta")


def test_denial_of_a_look_as_the_old_account_does_not_keep_the_new_accounts_pats_from_being_worked_on() -> None:
    world = make_current()
    world.add_managed("zeta", account=HEIR)
    old = world.record("zeta").authorization_id
    world.run()
    world.advance(hours=25)
    world.database.dies_before = "rotation_planned"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.advance(minutes=11)
    world.pats.fail("fetch_pat", DeniedError("no", service="azure_devops", operation="get", status=403, fix="Ask."))
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["denied"]
    assert codes_of(report, OutcomeKind.FAILED) == []
    assert old not in world.live_ids("zeta")


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_move_whose_late_write_is_served_is_finished_although_the_old_account_cannot_work(
    is_by_hand: bool,
) -> None:
    world = make_left()
    old = world.record().authorization_id
    world.pats.pats[old].revoked = True  # Azure DevOps ends the PATs of a user who was deleted
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    with suppress(RotatorError):
        update(world.make_run(), MOVE)
    world.secrets._planned.clear()
    assert world.states()[-1] == "storing"
    world.advance(minutes=11)
    world.pats.fail("revoke")  # the clone is given up; its DELETE is lost on the way
    world.run()
    assert world.states()[-1] == "abandoning"
    assert world.secrets.apply_late() == 1
    if is_by_hand:
        world.rotate(NAME)
    for _ in range(8):
        world.advance(days=5)
        world.run()
        assert world.is_live(), (world.states(), world.record().last_failure)
    assert world.record().account == HEIR


@pytest.mark.parametrize("has_left", [False, True])
def test_pat_for_all_organizations_is_not_moved_whether_its_account_can_work_or_not(has_left: bool) -> None:
    world, full = make_world(), "full"
    world.pats.add_pat(ACCOUNT, None, full, SCOPE, world.clock.now() + timedelta(days=20))
    run = world.make_run()
    adopt(run, propose(run, [full], everything=False))
    old, wanted = world.record(full).authorization_id, Change(full, account=HEIR)
    if has_left:
        leave(world)
    for ask in (preview, update):
        with pytest.raises(PlanRefusedError) as caught:
            ask(world.make_run(), wanted)
        assert caught.value.code == "all_organizations"
    assert (world.record(full).authorization_id, world.record(full).wanted_account) == (old, None)


def test_pat_for_all_organizations_whose_move_was_begun_before_is_not_moved_once_its_account_is_gone() -> None:
    world = make_current()
    world.database.dies_before = "rotation_planned"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.advance(minutes=11)
    record = world.record()
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "another", now=work.now(), span=timedelta(minutes=1))
        work.inventory.save(replace(record, all_organizations=True), claim)
        work.claims.release(claim)
    leave(world)
    world.run()
    assert world.record().authorization_id == record.authorization_id, "consumers read a PAT for one organization now"


@pytest.mark.parametrize("mark", ["mint_started", "secret_stored", "overlap_started"])
@pytest.mark.parametrize(
    ("wanted", "back"),
    [(MOVE, Change(NAME, account=ACCOUNT)), (Change(NAME, display_name="other"), Change(NAME, display_name=NAME))],
)
def test_wish_that_is_being_made_cannot_be_taken_back_and_says_so(mark: str, wanted: Change, back: Change) -> None:
    world = make_current()
    world.database.dies_before = mark
    with pytest.raises(ProcessDied):
        move(world, wanted)
    world.database.revive()
    world.advance(minutes=11)
    before = world.record()
    for ask in (preview, update):
        with pytest.raises(RotationError) as caught:
            ask(world.make_run(), back)
        assert caught.value.code == "rotation_not_finished"
    assert world.record().as_wanted() == replace(before.as_wanted(), epoch=world.record().epoch)
    assert "update_dropped failed" not in world.events()


@pytest.mark.parametrize("wanted", [Change(NAME, scopes=("vso.code",)), MOVE])
def test_lost_mint_that_only_the_vault_names_is_revoked_or_reported_by_the_next_runs(wanted: Change) -> None:
    world = make_current()
    world.add_managed("zeta", account=HEIR)  # so the other account's list is looked at
    restore, old = world.database.back_up(), world.record().authorization_id
    world.pats.fail("mint", after_effect=True)
    move(world, wanted)
    [lost] = [found for found in world.live_ids() if found != old]
    restore()
    for _ in range(6):
        world.advance(hours=7)
        world.run()
    (entered,) = [found for found in world.rotations() if found.failure and found.failure.code == "unknown_intent"]
    assert (entered.account, entered.predecessor_place[0]) == (world.pats.pats[lost].account, ACCOUNT)
    with world.database.read() as reading:
        left = [item.pat.authorization_id for item in load_left_behind(reading, world.clock.now())]
    assert lost not in world.live_ids() or lost in left


def test_move_that_is_being_made_waits_for_its_account_and_is_finished_when_that_works_again() -> None:
    world = make_current()
    world.database.dies_before = "pat_minted"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    disable(world)
    while world.record().valid_to - world.clock.now() > timedelta(days=3):
        world.advance(hours=20)
        world.run()
    assert world.record().wanted_account == HEIR, "its mint was sent: only that account can tell what it made"
    world.sign_in.refusals.clear()
    world.pats.signed_out.clear()
    for _ in range(12):
        world.advance(hours=6)
        world.run()
        assert world.is_live()
    assert (world.record().account, world.record().wanted_account) == (HEIR, None)


def test_move_is_still_wanted_while_neither_account_works() -> None:
    world = make_current()
    world.database.dies_before = "rotation_planned"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    leave(world)
    disable(world)
    while world.record().valid_to - world.clock.now() > timedelta(days=3):
        world.advance(hours=20)
        report = world.run()
    assert world.record().wanted_account == HEIR
    assert {outcome.place for outcome in report.outcomes if outcome.name == NAME} == {HEIR}, "that one is waited for"
    world.sign_in.refusals.pop(HEIR)
    world.pats.signed_out.discard(HEIR)
    world.advance(hours=20)
    world.run()
    assert world.record().account == HEIR


def test_recovery_gives_up_no_move_although_the_settings_name_its_account_no_more() -> None:
    world = make_current()
    world.database.dies_after = "rotation_planned"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.advance(minutes=11)
    take_out(world)
    world.watch(lambda: recover_interrupted(world.make_run()))
    assert world.record().wanted_account == HEIR
