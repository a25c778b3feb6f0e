"""What proves that a PAT lives: a 403 means that its value is genuine; a tag proves less than the version's id."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.errors import VerificationError
from tests.support.engine import EngineWorld
from tests.support.engine_scenarios import make_overlapping
from tests.unit.test_engine_pending_revocations import load_pending, pending_ids


def make_hidden() -> tuple[EngineWorld, str]:
    """A PAT that rotator made, to be revoked without effect, which no list has and whose id the server doesn't know."""
    world = make_overlapping()
    world.run()
    world.advance(days=24)
    world.run()
    world.advance(hours=25)
    old = world.rotations()[-1].predecessor_id
    world.pats.ignores_revoke = lambda _: True
    world.run()
    assert pending_ids(world) == [old]
    world.pats.shown = {key: pat for key, pat in world.pats.pats.items() if key != old}
    return world, old


def look(world: EngineWorld) -> None:
    for _ in range(3):
        world.advance(minutes=11)
        world.run()


def test_pat_lives_while_its_value_signs_in() -> None:
    world, old = make_hidden()
    look(world)
    assert pending_ids(world) == [old]


def test_pat_lives_when_its_user_is_refused_with_403() -> None:
    world, old = make_hidden()
    error = VerificationError("forbidden", code="verification_forbidden", fix="")
    world.pats.fail("verify", error, times=30)
    look(world)
    assert pending_ids(world) == [old], world.events()[-4:]


def test_pat_lives_when_a_tool_took_our_tags_off_the_version_that_the_journal_knows() -> None:
    world, old = make_hidden()
    made = next(r for r in world.rotations() if r.new_authorization_id == old)
    secret = world.secrets._secrets[world.location().vault, world.location().name]
    number = next(n for n, it in enumerate(secret.versions) if it.version.version == made.secret_version)
    world.secrets._edit(world.location(), number, lambda version: replace(version, tags={"owner": "platform"}))
    look(world)
    assert pending_ids(world) == [old], world.events()[-4:]


def test_revocation_ends_when_the_vault_is_gone() -> None:
    """Control of the other side: nothing can be tried any more."""
    world, old = make_hidden()
    world.pats.pats[old].revoked = True
    world.secrets.fail("fetch_version", times=1000)
    look(world)
    assert load_pending(world)


def test_pending_revocation_ends_when_its_pat_has_expired_although_its_value_cannot_be_tried() -> None:
    """Its vault is gone for good, the server no longer knows its id."""
    world, old = make_hidden()
    fake = world.pats.pats[old]
    fake.revoked = True
    place = world.location()
    assert place
    for _ in range(6):
        world.advance(days=20)
        if world.clock.now() > fake.pat.valid_to + timedelta(days=3):
            break
        world.secrets.fail("fetch_version", times=60)
        world.run()
        world.secrets._planned.clear()
    world.secrets.fail("fetch_version", times=60)
    world.run()
    world.advance(minutes=11)
    world.run()
    assert old not in pending_ids(world)
