"""What a person revoked stays revoked by hand, whatever becomes of a repeated request."""

from __future__ import annotations

from contextlib import suppress

import pytest

from rotator.domain.managed_pat import Hold, ManagedPatState
from rotator.engine.keeping import resume, revoke_current
from rotator.errors import DeniedError, RotatorError, UsageError
from tests.support.engine import NAME, EngineWorld
from tests.unit.test_engine_vanished import DENIED, hide, look_for_long, make_rotated


def revoke_in_vain(error: RotatorError | None = None) -> tuple[EngineWorld, str]:
    """The first request is answered and has no effect; the repeated one gets no answer or is refused."""
    world, current = make_rotated()
    world.pats.ignores_revoke = lambda _: True
    revoke_current(world.make_run(), NAME)
    assert world.record().hold is Hold.REVOKED_BY_HAND
    world.advance(minutes=6)
    world.pats.fail("revoke", error)
    with suppress(RotatorError):
        world.run()
    world.heal()
    world.advance(minutes=1)
    world.pats.fail("revoke", error)
    with suppress(RotatorError):
        world.run()
    return world, current


@pytest.mark.parametrize("error", [None, DENIED])
def test_hold_of_a_person_survives_a_repeated_request_without_effect(error: DeniedError | None) -> None:
    world, _ = revoke_in_vain(error)
    assert world.record().hold is Hold.REVOKED_BY_HAND, world.events()[-8:]


def test_resume_is_still_refused() -> None:
    world, _ = revoke_in_vain()
    with pytest.raises(UsageError):
        resume(world.make_run(), NAME)


def test_new_pat_of_what_was_revoked_by_hand_is_rotated_again() -> None:
    world, _ = revoke_in_vain()
    world.heal()
    world.pats.ignores_revoke = lambda _: False
    world.advance(hours=1)
    with suppress(RotatorError):
        world.rotate(NAME)
    assert world.record().state is ManagedPatState.ACTIVE, (world.events()[-8:], world.record())


def test_revocation_by_hand_is_not_told_as_a_leak() -> None:
    world, current = revoke_in_vain()
    world.heal()
    world.pats.ignores_revoke = lambda _: False
    world.advance(hours=1)
    world.run()
    assert current not in world.live_ids()
    look_for_long(world)
    assert "pat_vanished failed" not in world.events(), world.events()[-8:]


@pytest.mark.parametrize("minutes", [2, 60])
def test_sight_of_the_pat_counts_against_a_persons_request_only_when_that_can_no_longer_take_effect(
    minutes: int,
) -> None:
    """The request was not answered. Lists lack the PAT, show it once more, and lack it again: it is gone."""
    world, current = make_rotated()
    world.pats.fail("revoke")
    with suppress(RotatorError):
        revoke_current(world.make_run(), NAME)
    hide(world, current)
    world.run()
    world.heal()
    world.advance(minutes=minutes)
    world.run()
    world.pats.pats[current].revoked = True
    for _ in range(3):
        world.advance(hours=1)
        world.run()
    assert (world.record().hold is Hold.REVOKED_BY_HAND) == (minutes == 2), (world.record(), world.events()[-8:])
