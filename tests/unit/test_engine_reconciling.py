"""What a look at the server finds, over several organizations and at the edges of what is ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.engine.listing import ServerView
from rotator.engine.reconciling import Reconciliation, look
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy, make_overlapping


def look_around(world: EngineWorld) -> Reconciliation:
    """What a run would find now."""
    run = world.make_run()
    return look(run, ServerView(run))


def manage(world: EngineWorld, name: str, authorization_id: str) -> None:
    """Take an existing PAT under management, as adopting does."""
    found = world.pats.pats[authorization_id].pat
    record = replace(
        world.record(), name=name, authorization_id=authorization_id, secret_name=name,
        valid_from=found.valid_from, valid_to=found.valid_to,
    )  # fmt: skip
    with world.database.begin() as work:
        work.inventory.add(record)


def lose_mints(*, organizations: tuple[str, ...] = (ORGANIZATION,), short: bool = False) -> EngineWorld:
    """One mint in each organization, unanswered and given up; then they take effect, or did so with a shorter life."""
    world = make_world("z")
    for organization in organizations:
        world.add_managed(organization, organization=organization)
        if short:
            world.pats.organizations[organization].max_lifetime = timedelta(days=20)
            world.pats.fail("mint", after_effect=True)
        else:
            world.pats.postpone_mint()
        world.rotate(organization)
    world.advance(minutes=11)
    for organization in organizations:
        world.rotate(organization)
    world.pats.apply_late()
    return world


def test_nothing_has_changed_when_pats_of_two_organizations_are_as_recorded() -> None:
    world = make_world()
    world.add_managed("far", organization="fabrikam")
    assert look_around(world).changed == set()


def test_late_mints_are_found_in_every_organization() -> None:
    world = lose_mints(organizations=(ORGANIZATION, "fabrikam"))
    assert sorted(look_around(world).late) == [ORGANIZATION, "fabrikam"]


def test_pats_left_behind_are_found_in_every_organization() -> None:
    world = lose_mints(organizations=(ORGANIZATION, "fabrikam"), short=True)
    assert sorted(item.pat.display_name for item in look_around(world).left_behind) == [ORGANIZATION, "fabrikam"]


def test_no_pat_is_taken_for_a_late_mint_when_two_once_looked_like_it() -> None:
    """A person revokes one of the two: the other may be a person's all the same."""
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    planned = world.rotations()[0].planned_valid_to
    assert planned is not None
    theirs = world.add_lookalike(planned).pat.authorization_id
    ours = world.live_ids()[1]
    world.advance(minutes=1)
    world.run()
    assert world.codes() == ["mint_ambiguous"]
    world.pats.pats[ours].revoked = True
    assert look_around(world).late == {}
    for _ in range(3):
        world.advance(hours=13)
        world.run()
    assert theirs not in world.revoked_ids()


def test_managed_pat_is_not_taken_for_a_late_mint_when_its_expiry_is_that() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    planned = world.rotations()[0].planned_valid_to
    assert planned is not None
    world.advance(minutes=11)
    world.run()
    assert world.codes()[0] == "mint_not_created"
    theirs = world.add_lookalike(planned).pat.authorization_id
    assert [pat.authorization_id for _, pat in look_around(world).late[NAME]] == [theirs]
    manage(world, "other", theirs)
    assert look_around(world).late == {}


def test_pat_is_not_called_changed_when_it_expires_this_moment() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=0)
    assert look_around(world).changed == set()


def test_clone_is_not_called_lost_when_it_has_expired() -> None:
    world = make_overlapping()
    new = world.record()
    world.clock.advance(new.valid_to - world.clock.now())
    assert look_around(world).changed == set()
    world.advance(hours=1)
    assert look_around(world).changed == set()


def test_other_organizations_are_looked_at_when_one_cannot_be() -> None:
    world = make_world()
    world.add_managed("far", organization="fabrikam")
    world.pats.fail("fetch_pats")
    found = look_around(world)
    assert list(found.down) == [(ACCOUNT, ORGANIZATION)]
    assert list(found.listings) == [(ACCOUNT, "fabrikam")]


def test_other_accounts_are_looked_at_when_one_is_signed_out() -> None:
    world = make_world()
    world.add_managed("theirs", account="release-bot")
    world.sign_in.refusals[ACCOUNT] = make_busy("refresh", "entra")
    found = look_around(world)
    assert list(found.down) == [(ACCOUNT, "")]
    assert list(found.listings) == [("release-bot", ORGANIZATION)]
    assert world.sign_in.calls == [ACCOUNT, "release-bot"]


def test_pat_is_called_revoked_when_its_secret_is_gone_too() -> None:
    """Nothing in the vault says that we rotated it."""
    world = make_world("other")
    world.add_managed(NAME, days_left=20)
    world.pats.pats[world.record().authorization_id].revoked = True
    world.secrets.soft_delete(world.location())
    world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "revoked_elsewhere"


def test_rotation_is_frozen_when_its_secret_was_deleted_in_the_overlap() -> None:
    world = make_overlapping()
    world.secrets.soft_delete(world.location())
    world.run()
    assert world.codes() == ["foreign_write"]
    assert world.revoked_ids() == []
