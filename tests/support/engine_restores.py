"""Worlds whose database was lost, or replaced by an older one, for engine tests."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_fakes import WatchedDatabase


def make_restored(*, overlap_is_over: bool = False) -> EngineWorld:
    """A database from before a rotation, which the vault and the server remember."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    if overlap_is_over:
        world.advance(hours=25)
        world.run()
    restore()
    return world


def lose(world: EngineWorld) -> None:
    """An empty database in place of the old one."""
    world.database = WatchedDatabase(world.clock, world.timeline)


def make_lost(*names: str, overlap_is_over: bool = False) -> EngineWorld:
    """An empty database; before, each of these was rotated once."""
    world = make_world(*names)
    world.run()
    if overlap_is_over:
        world.advance(hours=25)
        world.run()
    lose(world)
    return world


def make_restored_open(mark: str, *, followed: bool) -> EngineWorld:
    """A database from the middle of a rotation that was completed since; `followed`: and another one overlaps."""
    world = make_world()
    restores: list[Callable[[], None]] = []
    world.database.interrupts[mark] = lambda: restores.append(world.database.back_up())
    for _ in range(2):
        world.run()
        world.advance(hours=25)
    if followed:
        world.rotate(NAME)
    restores[0]()
    return world


def make_late_in_restored() -> EngineWorld:
    """A write that was given up takes effect twice after the database that knew of it was replaced by an older one."""
    world = make_world()
    restore = world.database.back_up()
    for _ in range(2):
        world.secrets.postpone_store()
    world.secrets.fail("store", skip=2, times=30)
    world.run()
    world.heal()
    world.advance(minutes=11)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    for fake in world.pats.live_pats()[1:]:
        fake.revoked = True
    restore()
    assert world.secrets.apply_late() == 2
    assert not world.is_live()
    return world
