"""Worlds in the middle of a story, for engine tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from rotator.engine.updating import make_change, update
from rotator.errors import RotatorError, TransientError
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.policies import RULE, make_policy


def make_busy(operation: str = "fetch_pats", service: str = "azure_devops") -> TransientError:
    """What an adapter raises when a service is overloaded."""
    return TransientError(f"{service} is busy", service=service, operation=operation, status=503)


FAULTS: dict[str, Callable[[EngineWorld], object]] = {
    "mint-refused-for-now": lambda world: world.pats.fail("mint", make_busy("mint")),
    "mint-unanswered": lambda world: world.pats.fail("mint"),
    "mint-made-and-unanswered": lambda world: world.pats.fail("mint", after_effect=True),
    "mint-late": lambda world: world.pats.postpone_mint(),
    "answer-of-another": lambda world: world.pats.swap_mint_answer(),
    "store-unanswered": lambda world: world.secrets.fail("store", times=30),
    "store-made-and-unanswered": lambda world: world.secrets.fail("store", after_effect=True),
    "unreadable": lambda world: world.secrets.fail("fetch_latest", make_busy("fetch", "key_vault"), times=30),
    "probe": lambda world: world.pats.fail("verify", make_busy("verify"), times=60),
}
"""What a service may do to a creation or an update, which the next runs finish all the same."""


def make_overlapping(hours: float = 24, *, disabling: bool = False) -> EngineWorld:
    """A world whose only rotation overlaps since so many hours; `disabling`: older versions are disabled at its end."""
    world = make_world(policy=make_policy(replace(RULE, disable_previous=disabling)))
    world.run()
    world.advance(hours=hours)
    return world


def make_given_up_store(*, disabling: bool = False) -> EngineWorld:
    """A write to the vault that may still take effect, its settle time over: the next run gives its clone up."""
    world = make_world(policy=make_policy(replace(RULE, disable_previous=disabling)))
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.heal()
    world.advance(minutes=11)
    return world


def make_frozen_store() -> EngineWorld:
    """A rotation that froze because somebody wrote its secret; the first of its two writes may still take effect."""
    world = make_world()
    old = world.latest().value.reveal()
    world.secrets.postpone_store()
    world.database.interrupts["stored"] = lambda: world.secrets.write_foreign(world.location(), old)
    world.run()
    assert world.states() == ["failed"]
    return world


def set_back_while_revoking(world: EngineWorld) -> None:
    """A run on a host whose clock is set back 30 days while a DELETE is answered, and set right minutes later."""

    def set_back(_: str) -> bool:
        world.host_clock.ahead = timedelta(days=-30)
        return False

    world.pats.ignores_revoke = set_back
    with suppress(RotatorError):
        world.run()
    world.pats.ignores_revoke = lambda _: False
    world.heal()
    world.advance(minutes=6)
    assert world.states()[-1] == "abandoned"


def make_late_store(*, disabling: bool = False) -> EngineWorld:
    """The same, given up and rotated anew, and then the write takes effect over the value of the new rotation."""
    world = make_given_up_store(disabling=disabling)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    assert world.secrets.apply_late() == 1
    return world


def lose_update(world: EngineWorld) -> str:
    """Ask for another display name; the mint of that has its effect, and its answer is lost. Return the clone's id."""
    world.pats.fail("mint", after_effect=True)
    change = make_change(NAME, display_name="npm-publish", scopes=(), lifetime=None)
    world.watch(lambda: update(world.make_run(), change))
    [lost] = world.live_ids("npm-publish")
    return lost
