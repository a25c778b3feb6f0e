"""Revoking a leftover on a person's word: where it is looked for, what is remembered afterwards, what is journaled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Failure
from rotator.engine.leftovers import load_leftovers, make_warning, revoke_leftover
from rotator.engine.records import load_known
from rotator.errors import DeniedError, UnknownOutcomeError
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world


def make_quarantined(organization: str = ORGANIZATION, *others: str) -> tuple[EngineWorld, str]:
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


def test_leftover_is_found_in_a_later_organization_when_the_first_cannot_be_looked_at() -> None:
    world, near = make_quarantined("fabrikam", "near-by")
    deny(world)
    assert revoke_leftover(world.make_run(), near).pat.authorization_id == near
    assert near not in world.live_ids("far")


def test_first_refusal_is_told_when_the_leftover_is_found_nowhere() -> None:
    world, _ = make_quarantined()
    denied = deny(world)
    with pytest.raises(DeniedError) as caught:
        revoke_leftover(world.make_run(), "nothing")
    assert caught.value is denied


def test_sign_in_is_asked_once_and_of_the_leftovers_account_when_it_is_revoked() -> None:
    world, near = make_quarantined()
    world.sign_in.calls.clear()
    revoke_leftover(world.make_run(), near)
    assert world.sign_in.calls == [ACCOUNT]


def test_other_untracked_pats_stay_remembered_when_a_leftover_is_revoked() -> None:
    world, near = make_quarantined("fabrikam", "near-by")
    for organization in (ORGANIZATION, "fabrikam"):
        world.pats.add_pat(ACCOUNT, organization, "theirs", "vso.code", world.clock.now() + timedelta(days=9))
    world.run()
    with world.database.begin() as work:
        before = work.inventory.load_untracked()
    revoke_leftover(world.make_run(), near)
    with world.database.begin() as work:
        after = work.inventory.load_untracked()
    assert sorted(item.pat.display_name for item in before) == ["far", "theirs", "theirs"]
    assert set(after) == {item for item in before if item.pat.authorization_id != near}


def test_revocation_is_journaled_as_of_now_when_its_answer_is_lost() -> None:
    """Fields that the end of the stray would write over are right from its begin."""
    world, near = make_quarantined()
    world.pats.fail("revoke")
    with pytest.raises(UnknownOutcomeError):
        revoke_leftover(world.make_run(), near)
    first, *_, stray = world.rotations()
    assert (stray.state.value, stray.new_authorization_id) == ("abandoning", near)
    assert stray.created_at == stray.updated_at == world.clock.now()
    assert stray.tried_store is False
    assert stray.id != first.id


def test_warning_says_what_a_leftover_is_when_it_is_quarantined() -> None:
    world, near = make_quarantined()
    known = load_known(world.make_run())
    with world.database.begin() as work:
        (found,) = load_leftovers(work, known)
    assert make_warning(found) == Failure(
        "quarantined",
        f"PAT {near} may be a lost mint for {NAME}, and may be a person's: there is no proof",
        f"If nobody uses it, revoke it: rotator recover --revoke {near}",
    )
