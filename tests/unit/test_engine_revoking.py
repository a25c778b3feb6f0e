"""Revoking a PAT that was left behind: where it is looked for, what is remembered and journaled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Failure
from rotator.domain.rotation import RotationEnding
from rotator.engine.explaining import explain_left_behind
from rotator.engine.left_behind import load_left_behind, revoke_left_behind
from rotator.errors import DeniedError, UnknownOutcomeError
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world


def make_unproven(organization: str = ORGANIZATION, *others: str) -> tuple[EngineWorld, str]:
    """A lost mint that came out shorter than asked for, nothing open any more; `others` are managed in contoso."""
    world = make_world(*(others or (NAME,)))
    name = NAME if organization == ORGANIZATION else "far"
    if organization != ORGANIZATION:
        world.add_managed(name, organization=organization)
    world.pats.organizations[organization].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    world.rotate(name)
    near = world.live_ids(name)[1]
    world.advance(minutes=11)
    world.rotate(name)
    world.advance(hours=25)
    world.run()
    return world, near


def deny(world: EngineWorld, times: int = 1) -> DeniedError:
    """The next looks at an organization are refused."""
    denied = DeniedError("no access", service="azure_devops", operation="list_pats", status=200)
    world.pats.fail("fetch_identity", denied, times=times)
    return denied


def test_pat_left_behind_is_found_in_a_later_organization_when_the_first_cannot_be_looked_at() -> None:
    world, near = make_unproven("fabrikam", "near-by")
    deny(world)
    assert revoke_left_behind(world.make_run(), near).pat.authorization_id == near
    assert near not in world.live_ids("far")


def test_first_refusal_is_told_when_the_pat_left_behind_is_found_nowhere() -> None:
    world, _ = make_unproven()
    denied = deny(world)
    with pytest.raises(DeniedError) as caught:
        revoke_left_behind(world.make_run(), "nothing")
    assert caught.value is denied


def test_sign_in_is_asked_once_and_of_the_pat_left_behinds_account_when_it_is_revoked() -> None:
    world, near = make_unproven()
    world.sign_in.calls.clear()
    revoke_left_behind(world.make_run(), near)
    assert world.sign_in.calls == [ACCOUNT]


def test_other_untracked_pats_stay_remembered_when_a_pat_left_behind_is_revoked() -> None:
    world, near = make_unproven("fabrikam", "near-by")
    for organization in (ORGANIZATION, "fabrikam"):
        world.pats.add_pat(ACCOUNT, organization, "theirs", "vso.code", world.clock.now() + timedelta(days=9))
    world.run()
    with world.database.begin() as work:
        before = work.inventory.load_untracked()
    revoke_left_behind(world.make_run(), near)
    with world.database.begin() as work:
        after = work.inventory.load_untracked()
    assert sorted(item.pat.display_name for item in before) == ["far", "theirs", "theirs"]
    assert set(after) == {item for item in before if item.pat.authorization_id != near}


def test_revocation_is_journaled_as_of_now_when_its_answer_is_lost() -> None:
    """Fields that the end of the revocation would write over are right from its begin."""
    world, near = make_unproven()
    world.pats.fail("revoke")
    with pytest.raises(UnknownOutcomeError):
        revoke_left_behind(world.make_run(), near)
    first, *_, clearing = world.rotations()
    assert (clearing.state.value, clearing.new_authorization_id) == ("abandoning", near)
    assert clearing.created_at == clearing.updated_at == world.clock.now()
    assert clearing.tried_store is False
    assert clearing.id != first.id
    assert clearing.failure is not None
    assert (clearing.failure.code, first.id in clearing.failure.message) == ("left_behind", True)


def test_revocation_is_no_ambiguous_mint_when_it_revokes_what_looked_like_one() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    planned = world.rotations()[0].planned_valid_to
    assert planned is not None
    twin = world.add_lookalike(planned).pat.authorization_id
    world.advance(minutes=1)
    world.run()
    world.advance(hours=13)
    world.run()
    world.advance(hours=25)
    world.run()
    revoke_left_behind(world.make_run(), twin)
    first, *_, clearing = world.rotations()
    assert (first.ending, clearing.ending) == (RotationEnding.MINT_AMBIGUOUS, None)
    assert (clearing.state.value, clearing.new_authorization_id) == ("abandoned", twin)


def test_warning_says_what_a_pat_left_behind_is_when_it_is_unproven() -> None:
    world, near = make_unproven()
    with world.database.begin() as work:
        (found,) = load_left_behind(work, world.clock.now())
    assert explain_left_behind(found) == Failure(
        "left_behind",
        f"PAT {near} may be a lost mint for {NAME}, or a person's own: there is no proof",
        f"If nobody uses it, revoke it: rotator recover --revoke {near}",
    )
