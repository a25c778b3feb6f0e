"""What counts as proof, at its edges: that a PAT is ours, that an overlap is over, that a value is the right one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.events.revocations import RevokeStarted
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunMode
from rotator.engine.listing import ServerView
from rotator.engine.overlapping import is_overlap_over
from rotator.engine.retiring import retire_predecessor
from rotator.errors import RejectedError, RotationError
from rotator.ports.claims import Claim
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.engine_scenarios import make_late_store, make_overlapping


def lose_mint(*names: str) -> tuple[EngineWorld, datetime]:
    """A mint that never happened and was not answered, and the exact expiry that it asked for."""
    world = make_world(*names)
    world.pats.fail("mint")
    world.rotate(NAME)
    planned = world.rotations()[-1].planned_valid_to
    assert planned is not None
    return world, planned


def manage(world: EngineWorld, name: str, authorization_id: str) -> None:
    """Take an existing PAT under management, as adopting does."""
    record = replace(world.record().healed(), name=name, authorization_id=authorization_id, secret_name=name)
    with world.database.begin() as work:
        work.inventory.add(record)


def test_managed_pat_is_not_taken_for_the_lost_mint_when_only_its_expiry_is_that() -> None:
    """Nobody minted it by us, but it is in the inventory."""
    world, planned = lose_mint()
    theirs = world.add_lookalike(planned).pat.authorization_id
    manage(world, "other", theirs)
    world.advance(minutes=11)
    world.run()
    assert theirs not in world.revoked_ids()
    assert world.codes()[0] == "mint_not_created"


def test_clone_of_another_rotation_is_not_taken_for_the_lost_mint_when_only_its_expiry_is_that() -> None:
    """Minted by us for another record that meanwhile moved on: in the journal, not in the inventory."""
    world, planned = lose_mint()
    other = world.add_lookalike(planned).pat.authorization_id
    manage(world, "other", world.add_lookalike(planned + timedelta(days=1)).pat.authorization_id)
    with claimed(world.make_run(), "other") as held:
        clearing = replace(world.rotations()[-1], id="f" * 32, name="other", new_authorization_id=other)
        held.begin(clearing, RevokeStarted(authorization_id=other, why="late"))
        held.learn(new_authorization_id=other)
    world.advance(minutes=11)
    world.rotate(NAME)
    assert other not in world.revoked_ids()


def test_third_newest_value_is_not_put_back_when_it_is_the_only_live_one() -> None:
    """Only the inventory's own value and the newest besides are ever the committed one."""
    world = make_late_store()
    world.secrets.write_foreign(world.location(), world.add_lookalike(world.record().valid_to).value)
    world.secrets.write_foreign(world.location(), "dead")
    late = world.secrets.versions_of(world.location())[2]
    world.pats.pats[world.record().authorization_id].revoked = True
    world.secrets.write_foreign(world.location(), late.value.reveal(), dict(late.version.tags))
    world.advance(hours=1)
    world.run()
    assert world.restores() == []


def test_old_pat_is_not_revoked_when_the_overlap_is_asked_to_end_before_its_time() -> None:
    """Unless a person asks: without being told so, the end by hand is not meant."""
    world = make_overlapping(hours=1)
    run = world.make_run()
    with claimed(run, NAME) as held, pytest.raises(RotationError) as caught:
        retire_predecessor(held, ServerView(run))
    assert caught.value.code == "overlap_not_over"
    assert world.revoked_ids() == []
    with claimed(replace(run, mode=RunMode.BY_HAND), NAME) as held:
        retire_predecessor(held, ServerView(run))
    world.check_rest()


def test_overlap_is_not_over_when_the_journal_lacks_its_end() -> None:
    world = make_overlapping()
    rotation = world.rotations()[0]
    claim = Claim(NAME, "run", 1, world.clock.now())
    assert is_overlap_over(ClaimedPat(world.make_run(), claim, world.record(), rotation, None))
    endless = replace(rotation, overlap_until=None)
    assert not is_overlap_over(ClaimedPat(world.make_run(), claim, world.record(), endless, None))


def test_retirement_goes_on_without_a_new_overlap_when_it_had_begun() -> None:
    """In `retiring` the overlap was over once; a clock set back changes nothing."""
    world = make_overlapping()
    world.run_and_die(after="retiring")
    world.advance(minutes=6)
    run = world.make_run()
    with claimed(run, NAME) as held:
        world.advance(hours=-5)
        retire_predecessor(held, ServerView(run))
    world.check_rest()


def test_pats_of_other_places_are_not_ours_when_all_else_fits() -> None:
    """Another organization, all of them, another account: the same name, scope and second prove nothing."""
    world, planned = lose_mint()
    others = [
        world.pats.add_pat(ACCOUNT, "fabrikam", NAME, SCOPE, planned),
        world.pats.add_pat(ACCOUNT, None, NAME, SCOPE, planned),
        world.pats.add_pat("release-bot", ORGANIZATION, NAME, SCOPE, planned),
    ]
    world.advance(minutes=11)
    world.run()
    assert not {fake.pat.authorization_id for fake in others} & set(world.revoked_ids())
    assert world.codes()[0] == "mint_not_created"


@pytest.mark.parametrize("ahead", [2, -2], ids=["database ahead", "database behind"])
def test_old_pat_is_kept_when_only_one_of_the_two_clocks_says_that_the_overlap_is_over(ahead: float) -> None:
    world = make_overlapping(hours=23 if ahead > 0 else 24)
    world.database.skew = timedelta(hours=ahead)
    world.advance(minutes=30)
    world.run()
    assert world.states() == ["overlapping"]
    assert world.revoked_ids() == []
    world.advance(hours=2)
    world.run()
    assert world.states() == ["completed"]


def test_record_is_clean_when_a_denied_revocation_was_allowed_later() -> None:
    world = make_overlapping()
    denied = RejectedError("not allowed", service="azure_devops", operation="revoke", status=400, code="policy")
    world.pats.fail("revoke", denied)
    world.run()
    assert (world.record().blocked, world.record().failures) == (True, 1)
    world.advance(hours=1)
    world.run()
    record = world.record()
    assert world.states() == ["completed"]
    assert (record.blocked, record.failures, record.retry_at, record.last_failure) == (False, 0, None, None)


def test_no_version_is_disabled_when_ours_is_gone_from_the_vault() -> None:
    world = make_overlapping(disabling=True)
    world.run_and_die(before="completed")
    world.secrets.soft_delete(world.location())
    world.advance(minutes=6)
    disabled = world.count("disable")
    world.run()
    assert world.states() == ["completed"]
    assert world.count("disable") == disabled
