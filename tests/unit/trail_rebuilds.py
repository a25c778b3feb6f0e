"""Stories of databases that were lost or replaced, and rebuilt, for `trails.py`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.engine.adopting import adopt, propose
from rotator.engine.looking import Rebuild, look
from rotator.engine.rebuilding import rebuild
from rotator.engine.tags import AUTHORIZATION_TAG, NAME_TAG, ROTATION_TAG
from tests.support.engine import NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.engine_restores import lose, make_late_in_restored, make_lost, make_restored, make_restored_open
from tests.support.policies import RULE, make_policy
from tests.unit import trail_stories
from tests.unit.trail_stories import Told, go_on, story

STORIES = trail_stories.STORIES
"""All stories, those of `trail_stories` first."""


def do(world: EngineWorld, claimant: str = "") -> Rebuild:
    """A rebuild: what it found."""
    run = replace(world.make_run(), claimant=claimant)
    plan = look(run)
    rebuild(run, plan)
    return plan


@story
def rebuilt_after_a_backup_from_before_the_rotation() -> Told:
    world = make_restored()
    world.advance(hours=20)
    yield world.run()
    world.policy = make_policy(replace(RULE, overlap=timedelta(hours=30), disable_previous=True))
    yield do(world)
    yield go_on(world, hours=24)
    yield go_on(world, hours=6)
    yield world


@story
def rebuilt_after_a_backup_with_a_rotation_open_and_by_another_claimant() -> Told:
    world = make_restored_open("minted", followed=True)
    world.policy = make_policy()
    yield do(world, claimant="a process")
    yield world


@story
def rebuilt_when_the_database_was_lost() -> Told:
    world = make_lost("a", "b", overlap_is_over=True)
    yield do(world)
    yield do(world)
    yield world


@story
def rebuilt_when_the_vault_hands_out_what_is_gone() -> Told:
    world = make_late_in_restored()
    yield world.run()
    yield do(world)
    yield go_on(world, minutes=6)
    yield world


@story
def rebuilt_from_the_version_before_the_one_that_is_gone() -> Told:
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    world.rotate(NAME)
    world.pats.pats[world.record().authorization_id].revoked = True
    lose(world)
    yield do(world)
    yield go_on(world, minutes=6)
    yield world


@story
def not_rebuilt() -> Told:
    names = ("gone", "tags", "known", "shared", "second", "taken")
    world = make_world(*names)
    world.run()
    restored = {name: world.latest(name) for name in names}
    places = {name: world.location(name) for name in names}
    world.pats.pats[restored["known"].version.tags[AUTHORIZATION_TAG]].revoked = True
    yield do(world)
    lose(world)
    for name in ("gone", "known"):
        for fake in world.pats.live_pats(name):
            fake.revoked = True

    def write(name: str, value: str, tags: dict[str, str]) -> None:
        world.secrets.write_foreign(places[name], value, restored[name].version.tags | tags)

    write("tags", "theirs", {NAME_TAG: "Not A Name"})
    theirs = world.pats.add_pat("release-bot", ORGANIZATION, "shared", SCOPE, world.clock.now() + timedelta(days=9))
    write("shared", theirs.value, {ROTATION_TAG: "f" * 32, AUTHORIZATION_TAG: theirs.pat.authorization_id})
    write("second", restored["second"].value.reveal(), {})
    copied = replace(places["second"], name="a-copy")
    world.secrets.write_foreign(copied, restored["second"].value.reveal(), restored["second"].version.tags)
    run = world.make_run()
    taken = world.pats.pats[restored["taken"].version.tags[AUTHORIZATION_TAG]]
    taken.pat = replace(taken.pat, display_name="adopted")
    adopt(run, propose(run, [taken.pat.authorization_id], everything=False))
    yield do(world)
    yield world


@story
def organization_that_cannot_be_looked_at_while_rebuilding() -> Told:
    world = make_lost()
    world.pats.fail("fetch_pats")
    yield do(world)
    yield world
