"""The clone on its way into the vault and the inventory: what is waited for, recognized, written into the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.events.rotations import FailureCleared, RotationFailed
from rotator.domain.managed_pat import Failure, ManagedPatState
from rotator.engine.auditing import load_events
from rotator.engine.claiming import claimed
from rotator.engine.keeping import pause, revoke_current
from rotator.engine.report import OutcomeKind
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.errors import ClaimHeldError, ClaimLostError, TransientError
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import ACCOUNT, NAME, VAULT, EngineWorld, make_world, names_of
from tests.support.engine_scenarios import make_overlapping


def test_vault_is_left_alone_as_long_as_it_asks_when_it_throttles() -> None:
    world = make_world()
    error = TransientError("slow down", service="key_vault", operation="store", status=429, retry_after=10.0)
    world.secrets.fail("store", error)
    world.run()
    assert world.clock.slept == [10.0]
    assert world.states() == ["overlapping"]


def test_rotation_is_frozen_when_our_tags_name_another_pat() -> None:
    world = make_overlapping()
    tags = {**world.latest().version.tags, AUTHORIZATION_TAG: "another"}
    world.secrets.write_foreign(world.location(), world.latest().value.reveal(), tags)
    world.run()
    assert world.codes() == ["foreign_write"]
    assert world.revoked_ids() == []


def test_journal_names_the_version_that_consumers_read_when_a_write_landed_twice() -> None:
    world = make_world()
    world.secrets.postpone_store()
    world.database.interrupts["stored"] = lambda: land(world)
    world.run()
    assert world.rotations()[0].secret_version == world.record().secret_version == world.latest().version.version
    world.finish()


def land(world: EngineWorld) -> None:
    """The write whose answer was lost happens now, after the one that repeated it."""
    assert world.secrets.apply_late() == 1


def test_mint_is_not_believed_when_it_answers_with_a_pat_that_was_listed_before() -> None:
    world = make_world()
    theirs = world.add_lookalike(world.record().valid_to + timedelta(days=1)).pat
    world.pats.change_minted = lambda minted: replace(minted, pat=theirs)
    world.run()
    assert world.events()[-2:] == ["mint_answer_doubted unknown", "rotation_failed failed"]
    assert world.states() == ["minting"]
    assert world.revoked_ids() == []


def test_pat_is_made_again_from_its_record_when_the_server_has_forgotten_it_and_a_person_asks() -> None:
    world = make_world()
    record = world.record()
    del world.pats.pats[record.authorization_id]
    world.run()
    assert world.states() == []
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    rotation, made = world.rotations()[0], world.pats.live_pats()[0].pat
    assert rotation.predecessor_id == record.authorization_id
    assert rotation.predecessor_valid_to == record.valid_to
    assert (made.display_name, made.scope) == (record.display_name, record.scope)
    assert made.target_accounts == (world.pats.organizations["contoso"].id,)
    assert made.valid_to - made.valid_from == record.lifetime - timedelta(seconds=240)


def test_record_of_a_pat_for_all_organizations_becomes_one_for_its_own_when_it_is_made_again() -> None:
    world = make_world()
    with claimed(world.make_run(), NAME) as held:
        held.save(replace(held.pat, all_organizations=True), FailureCleared())
    del world.pats.pats[world.record().authorization_id]
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    clone = world.pats.pats[world.record().authorization_id].pat
    assert clone.target_accounts == (world.pats.organizations["contoso"].id,)
    assert world.record().all_organizations is False


def test_record_describes_the_clone_when_somebody_changed_the_old_pat_before_a_rotation_by_hand() -> None:
    """The clone is made from what the server says; nothing was compared with the record before."""
    world = make_world()
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, display_name="renamed", scope="vso.code")
    world.rotate(NAME)
    clone = world.pats.pats[world.record().authorization_id].pat
    assert (clone.display_name, clone.scope) == ("renamed", "vso.code")
    record = world.record()
    assert (record.display_name, record.scope, record.valid_from) == (clone.display_name, clone.scope, clone.valid_from)


def test_record_is_active_again_when_a_pat_revoked_by_hand_is_rotated() -> None:
    world = make_world()
    revoke_current(world.make_run(), NAME)
    assert world.record().state is ManagedPatState.PAUSED
    world.rotate(NAME)
    assert (world.record().state, world.record().last_failure) == (ManagedPatState.ACTIVE, None)


@pytest.mark.parametrize("failure", [None, Failure("other", "something else")], ids=["no failure", "another failure"])
def test_record_stays_paused_when_a_person_paused_it_and_rotates_it(failure: Failure | None) -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    with claimed(world.make_run(), NAME) as held:
        held.save(replace(held.pat, last_failure=failure), RotationFailed(code="other", message="something else"))
    world.rotate(NAME)
    assert (world.record().state, world.record().last_failure) == (ManagedPatState.PAUSED, None)


def test_claim_lasts_when_each_step_is_within_the_lease_and_all_of_them_are_not() -> None:
    """Every commit renews it, in the database and by the host's clock."""
    world = make_world()
    world.run()
    with claimed(world.make_run(), NAME) as held:
        for _ in range(4):
            world.advance(minutes=3)
            held.learn()
        world.advance(minutes=3)
        held.check_claim()
        with pytest.raises(ClaimHeldError), claimed(world.make_run(), NAME):
            pass
        assert held.rotation.updated_at == world.clock.now() - timedelta(minutes=3)


def test_claim_is_over_by_the_hosts_clock_when_the_databases_is_another() -> None:
    world = make_world()
    world.run()
    world.database.skew = timedelta(hours=1)
    with claimed(world.make_run(), NAME) as held:
        held.learn()
        world.advance(minutes=4.9)
        held.check_claim()  # which renews it
        world.advance(minutes=5)
        with pytest.raises(ClaimLostError):
            held.check_claim()


def test_others_claims_are_judged_by_the_databases_clock_when_the_hosts_differ() -> None:
    """Two hosts an hour apart agree on who has the PAT; the audit log has the time of the host that wrote it."""
    world = make_world()
    with claimed(world.make_run(), NAME):
        world.advance(hours=1)
        world.clock.reboot()  # the next one runs on another host
        world.database.skew = timedelta(hours=-1)
        with pytest.raises(ClaimHeldError), claimed(world.make_run(), NAME):
            pass
    with claimed(world.make_run(), NAME) as held:
        held.save(held.pat, FailureCleared())
        (*_, event) = load_events(world.database)
        assert event.occurred_at == world.clock.now()
        world.advance(minutes=6)
        with claimed(world.make_run(), NAME):
            pass


def test_claim_names_who_holds_it_and_is_given_back_when_the_work_raises() -> None:
    world = make_world()
    run = replace(world.make_run(), claimant="host-7")
    with claimed(run, NAME), pytest.raises(ClaimHeldError, match="host-7"), claimed(world.make_run(), NAME):
        pass
    with pytest.raises(ZeroDivisionError), claimed(run, NAME):
        raise ZeroDivisionError
    with claimed(world.make_run(), NAME):
        pass


def test_vault_is_used_in_the_name_of_the_pats_account() -> None:
    world = make_world()
    world.run()
    assert {location for _, location in world.secrets.calls} == {SecretLocation(VAULT, f"contoso-{NAME}", ACCOUNT)}
