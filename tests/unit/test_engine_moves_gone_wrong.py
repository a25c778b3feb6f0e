"""A ManagedPat moves to another account, and something goes wrong before, while or after it does."""

from __future__ import annotations

from dataclasses import replace

from rotator.engine.run import work_on_due
from tests.support.engine import OVERLAP, EngineWorld, make_world
from tests.support.moves import make_current, move
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
