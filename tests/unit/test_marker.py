"""The optional mark in a clone's display name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import make_name
from rotator.domain.marker import carries_mark, make_mark_key, make_marked_name, strip_mark
from rotator.domain.policy import Match
from rotator.domain.rotation import Likeness, compare_mint
from rotator.domain.secret_value import SecretValue
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, make_world
from tests.support.records import NOW, make_pat, make_rotation

KEY = SecretValue("a key that only rotator has")


def test_mark_replaces_the_older_one_when_a_clone_is_cloned() -> None:
    first = make_marked_name("npm-feed", "r1", KEY)
    second = make_marked_name(first, "r2", KEY)
    assert first != second
    assert strip_mark(second) == "npm-feed"
    assert second.count("#rot-") == 1


def test_mark_differs_when_the_key_or_the_rotation_does() -> None:
    names = {make_marked_name("a", rotation, SecretValue(key)) for rotation in ("r1", "r2") for key in ("k1", "k2")}
    assert len(names) == 4


@pytest.mark.parametrize("name", ["npm-feed", "npm #rot-", "#rot-0123456789abcdef", "a #rot-0123456789ABCDEF"])
def test_names_of_people_are_not_taken_for_marked(name: str) -> None:
    assert not carries_mark(name, "r1", KEY)
    assert strip_mark(name) == name


def test_handle_and_rules_ignore_the_mark() -> None:
    marked = make_marked_name("npm-feed", "r1", KEY)
    assert make_name(marked, "contoso", frozenset()) == "npm-feed"
    assert Match(display_name="npm-feed").is_met(account="a", organization="o", display_name=marked, scopes=())


def test_clone_is_ours_whatever_its_expiry_when_it_carries_the_mark_of_the_rotation() -> None:
    """A clamp whose answer was lost leaves no exact second to go by; the mark does."""
    marked = make_marked_name("npm-feed", "r1", KEY)
    rotation = replace(make_rotation(), display_name=marked, marked=True, planned_valid_to=NOW + timedelta(days=30))
    pat = replace(
        make_pat("landed"),
        display_name=marked,
        scope=rotation.scope,
        target_accounts=("org",),
        valid_to=NOW + timedelta(days=7),
    )
    assert compare_mint(pat, rotation, "org", KEY) is Likeness.OURS
    other = replace(pat, display_name=make_marked_name("npm-feed", "r2", KEY))
    assert compare_mint(other, rotation, "org", KEY) is Likeness.FOREIGN


def test_lost_mint_under_a_clamp_is_revoked_when_clones_are_marked() -> None:
    """Without the mark it would be left behind for a person to judge."""
    world = make_world()
    world.marker_key = KEY
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    for _ in range(3):
        world.run()
        world.advance(hours=25)
    names = [fake.pat.display_name for fake in world.pats.live_pats() if strip_mark(fake.pat.display_name) == NAME]
    assert len(names) == 1
    assert carries_mark(names[0], world.rotations()[-1].id, KEY)
    assert world.rotations()[-1].marked


def test_expiry_counts_when_the_mark_is_not_proven_to_be_ours() -> None:
    """A pattern proves nothing: the journal must say that we made it, and the key that it is the one we made."""
    marked = make_marked_name("npm-feed", "r1", KEY)
    ours = replace(make_rotation(), display_name=marked, marked=True, planned_valid_to=NOW + timedelta(days=30))
    pat = replace(
        make_pat("theirs"),
        display_name=marked,
        scope=ours.scope,
        target_accounts=("org",),
        valid_from=ours.created_at,
        valid_to=NOW + timedelta(days=7),
    )
    assert compare_mint(pat, replace(ours, marked=False), "org", KEY) is Likeness.NEAR
    assert compare_mint(pat, ours, "org", SecretValue("another key")) is Likeness.NEAR
    assert compare_mint(pat, ours, "org") is Likeness.NEAR
    pretended = replace(ours, display_name=f"npm-feed #rot-{'0' * 16}")
    assert compare_mint(replace(pat, display_name=pretended.display_name), pretended, "org", KEY) is Likeness.NEAR


def test_key_of_marks_differs_from_the_key_that_it_is_made_from() -> None:
    key = make_mark_key(KEY)
    assert not key.same_as(KEY)
    assert key.same_as(make_mark_key(SecretValue(KEY.reveal())))
    assert make_marked_name("a", "r1", key) != make_marked_name("a", "r1", KEY)


@pytest.mark.parametrize("key", [None, KEY], ids=["without marks", "with marks"])
def test_persons_pat_is_not_revoked_when_its_name_has_two_marks_like_that_of_the_lost_mint(
    key: SecretValue | None,
) -> None:
    """Taking one of two marks away must not leave a name that proves whatever has it ours."""
    world = make_world()
    world.marker_key = key
    record = world.record()
    name = f"{NAME} #rot-0123456789abcdef"
    fake = world.pats.pats[record.authorization_id]
    fake.pat = replace(fake.pat, display_name=f"{name} #rot-fedcba9876543210")
    world.pats.fail("mint", after_effect=False)
    world.run()
    end = world.clock.now() + timedelta(days=7)
    theirs = [world.pats.add_pat(ACCOUNT, ORGANIZATION, shown, SCOPE, end) for shown in (name, NAME)]
    for _ in range(3):
        world.advance(minutes=11)
        world.run()
    assert not any(fake.revoked for fake in theirs)
    assert world.rotations()[0].display_name.startswith(f"{NAME} #rot-" if key else NAME)
