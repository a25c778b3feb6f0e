"""A ManagedPat that moves to another account: the worlds and the steps that the tests of moves share."""

from __future__ import annotations

from rotator.domain.policy import Policy
from rotator.engine.report import RunReport
from rotator.engine.updating import Change, update
from rotator.errors import SignInRequiredError
from tests.support.engine import ACCOUNT, NAME, EngineWorld, make_world

HEIR = "release-bot"
MOVE = Change(NAME, account=HEIR)


def make_current(policy: Policy | None = None) -> EngineWorld:
    """A world in which nothing is due, and only the current PAT lives."""
    world = make_world() if policy is None else make_world(policy=policy)
    world.run()
    world.advance(hours=25)
    world.run()
    world.check_rest()
    world.timeline.clear()
    return world


def leave(world: EngineWorld) -> None:
    """The user of the old account is disabled."""
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError(
        "the user is disabled", account=ACCOUNT, code="user_disabled", fix="Sign in."
    )
    world.pats.signed_out.add(ACCOUNT)


def make_left() -> EngineWorld:
    """That world, in which the account's user has left since."""
    world = make_current()
    leave(world)
    return world


def move(world: EngineWorld, wanted: Change = MOVE) -> RunReport:
    """One `rotator inventory move`."""
    return world.watch(lambda: update(world.make_run(), wanted))


def end_overlap(world: EngineWorld) -> None:
    """Run until the overlap is over; consumers read a live PAT all the time."""
    for _ in range(6):
        world.advance(hours=7)
        world.run()
        assert world.is_live()


def owners(world: EngineWorld) -> dict[str, str]:
    """Whose the live PATs are, by id."""
    return {fake.pat.authorization_id: fake.account for fake in world.pats.live_pats(NAME)}
