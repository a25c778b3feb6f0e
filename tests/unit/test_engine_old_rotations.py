"""Old rotations leave the journal, and nobody decides otherwise because of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.engine.adopting import adopt, propose
from rotator.engine.looking import look
from rotator.engine.old_rotations import archive_rotations
from rotator.engine.rebuilding import rebuild
from rotator.errors import RotatorError
from rotator.ports.secret_store import StoredSecret
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_fakes import ProcessDied
from tests.support.policies import RULE, make_policy
from tests.unit.trails import tell_world

DEATHS = ("mint_started", "minting", "minted", "storing", "stored", "overlapping", "retiring", "completed")
HAPPENINGS = ("die", "late mint", "late store", "late restore", "roll back", "extend", "hand")
NOUGHT = timedelta(0)


def roll_back(world: EngineWorld, old: StoredSecret, *, keeps_tags: bool) -> None:
    """A tool writes an old version's value again, with its tags or without."""
    world.secrets.write_foreign(world.location(), old.value.reveal(), old.version.tags if keeps_tags else None)


def extend(world: EngineWorld, chance: random.Random) -> None:
    """A person makes one of the PATs of long ago live again, for longer."""
    fake = world.pats.pats[chance.choice(sorted(world.pats.pats))]
    fake.revoked = False
    fake.pat = replace(fake.pat, valid_to=world.clock.now() + timedelta(days=200))


def act(world: EngineWorld, chance: random.Random) -> None:
    """Draw what happens next."""
    what = chance.choice((*("run",) * 6, *HAPPENINGS))
    ids = sorted(world.pats.pats)
    if what == "die":
        world.database.dies_after = chance.choice(DEATHS)
    elif what == "late mint":
        world.pats.postpone_mint()
    elif what == "late store":
        world.secrets.postpone_store()
    elif what == "late restore":
        world.secrets.postpone_restore()
        world.secrets.apply_late()
    elif what == "roll back":
        old = chance.choice(world.secrets.versions_of(world.location()))
        roll_back(world, old, keeps_tags=chance.random() < 0.8)
    elif what == "extend":
        extend(world, chance)
    elif what == "hand":
        by_hand = (lambda: world.rotate(NAME), lambda: _adopt(world, chance.choice(ids)), lambda: _rebuild(world))
        chance.choice(by_hand)()
    world.run()


def _adopt(world: EngineWorld, authorization_id: str) -> None:
    run = world.make_run()
    adopt(run, propose(run, [authorization_id], everything=False))


def _rebuild(world: EngineWorld) -> None:
    run = world.make_run()
    rebuild(run, look(run))


def live(seed: int, *, moves: bool) -> Iterator[str]:
    """Live two years of a world, and tell all that it leaves behind but for the closed rotations themselves."""
    chance = random.Random(seed)
    world = make_world(NAME, policy=make_policy(replace(RULE, adopt=seed % 2 == 0)))
    moved = 0
    for _ in range(50):
        run = world.make_run()
        moved += archive_rotations(run, NOUGHT) if moves else 0
        try:
            act(world, chance)
        except (RotatorError, ProcessDied) as error:
            yield f"{type(error).__name__} {getattr(error, 'code', '')}"
        world.database.revive()
        world.pats.apply_late()
        world.secrets.apply_late()
        world.advance(days=chance.choice((0.02, 1, 2, 9, 25, 60)))
    assert bool(moved) == moves, "nothing was old"
    yield from (line for line in tell_world(world) if not line.startswith("journal"))


@pytest.mark.parametrize("seed", range(6))
def test_history_goes_the_same_way_when_old_rotations_move_between_any_two_runs(seed: int) -> None:
    """Deaths, late writes, tools that roll back, PATs of long ago that live again, rebuilds and adoptions included."""
    assert list(live(seed, moves=True)) == list(live(seed, moves=False))
