"""A list of revoked PATs that is the answer to another request: the list of the active ones."""

from __future__ import annotations

from rotator.domain.managed_pat import Pat
from rotator.engine.keeping import forget
from tests.support.engine import NAME, EngineWorld
from tests.support.engine_scenarios import make_overlapping


def swap_next_revoked_list(world: EngineWorld) -> list[int]:
    """Answer the next request for the revoked PATs, once, with the list of the active ones."""
    swapped: list[int] = []

    def change(listed: tuple[Pat, ...]) -> tuple[Pat, ...]:
        is_revoked = all(world.pats.pats[pat.authorization_id].revoked for pat in listed)
        if swapped or not is_revoked:
            return listed
        swapped.append(1)
        return tuple(fake.pat for fake in world.pats.live_pats())

    world.pats.change_listed = change
    return swapped


def make_second_rotation() -> EngineWorld:
    """The old PAT is one of our own clones; its overlap is over."""
    world = make_overlapping()
    world.run()
    assert world.states() == ["completed"]
    world.advance(days=25)
    world.run()
    assert world.states() == ["completed", "overlapping"]
    world.advance(hours=25)
    return world


def _check_reported(world: EngineWorld, old: str) -> None:
    for _ in range(3):
        world.advance(hours=1)
        world.run()
    if old in world.live_ids():
        assert any(row.authorization_id == old for row in world.show_status()), world.events()[-8:]


def test_lost_delete_is_not_called_done_when_the_list_of_the_revoked_is_another_answer() -> None:
    world = make_second_rotation()
    old = world.rotations()[-1].predecessor_id
    world.pats.fail("revoke")  # the request was lost on the way
    world.run()
    assert world.states()[-1] == "retiring"
    swapped = swap_next_revoked_list(world)
    world.advance(minutes=5)
    world.run()
    assert swapped
    world.heal()
    _check_reported(world, old)


def test_delete_without_effect_is_not_called_done_when_the_list_of_the_revoked_is_another_answer() -> None:
    world = make_second_rotation()
    old = world.rotations()[-1].predecessor_id
    world.pats.ignores_revoke = lambda _: True
    swapped = swap_next_revoked_list(world)
    world.run()
    assert swapped
    world.pats.ignores_revoke = lambda _: False
    world.heal()
    _check_reported(world, old)


def test_forgotten_pat_that_we_minted_is_shown_untracked() -> None:
    world = make_overlapping()
    world.run()
    current = world.record().authorization_id
    forget(world.make_run(), NAME)
    world.add_managed("other")
    world.run()
    assert current in world.live_ids()
    assert any(row.authorization_id == current for row in world.show_status())
