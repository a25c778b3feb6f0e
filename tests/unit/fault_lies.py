"""What the fault matrix arranges beside refusals: answers that are not true, clocks that are wrong, lost databases."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta

from rotator.domain.account import Identity
from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.looking import look
from rotator.engine.rebuilding import rebuild
from rotator.errors import VerificationError
from rotator.ports.pat_service import MintedPat, PatList
from tests.support.engine import ACCOUNT, NAME, SCOPE, EngineWorld, make_world
from tests.support.engine_scenarios import make_overlapping

Arrange = Callable[[EngineWorld], None]

# Azure DevOps.


def list_another_user(world: EngineWorld) -> None:
    """Answer with the list of another account."""
    world.pats.add_pat("release-bot", "contoso", "theirs", SCOPE, world.record().valid_to)
    world.pats.change_listed = lambda listed: PatList(fake.pat for fake in world.pats.live_pats("theirs"))


def list_without_oldest(world: EngineWorld) -> None:
    """Leave the managed PAT out of each list."""
    world.pats.change_listed = lambda listed: listed[1:]


def mint_nothing(world: EngineWorld) -> None:
    """Answer a mint as done, with a PAT that is not there."""

    def drop(minted: MintedPat) -> MintedPat:
        del world.pats.pats[minted.pat.authorization_id]
        return minted

    world.pats.change_minted = drop


def show_as_now(world: EngineWorld) -> None:
    """Let every read show the PATs as they are now, whatever comes."""
    world.pats.shown = deepcopy(world.pats.pats)


def show_as_before_the_mint(world: EngineWorld) -> None:
    """Let no read show what is minted."""
    world.database.interrupts["minting"] = lambda: show_as_now(world)


def sign_in_as_another(world: EngineWorld) -> None:
    """Let each PAT sign in as somebody else, as an answer to another request would say."""
    world.pats.change_identity = lambda own: Identity("user-of-release-bot", "Release-Bot", own.organization_id)


def accept_late(world: EngineWorld) -> None:
    """Refuse a new PAT three times, as a service does that has not heard of it."""
    world.pats.fail("verify", VerificationError("not accepted", fix="Wait."), times=3)


def refuse_tokens(world: EngineWorld) -> None:
    """Let Azure DevOps refuse the token that Entra gave."""
    world.pats.signed_out.add(ACCOUNT)


# The vault.


def ignore_writes(world: EngineWorld) -> None:
    """Answer writes as done, and do nothing."""
    world.secrets.ignores_store = lambda: True


def read_old(world: EngineWorld) -> None:
    """Show the secret as it was before its newest version."""
    world.secrets.is_stale = lambda: True


def lose_write_and_read_old(world: EngineWorld) -> None:
    """Lose the answer to the write; and the reads that look for it are old."""
    world.secrets.fail("store", after_effect=True)
    world.database.interrupts["storing"] = lambda: read_old(world)


def make_changed() -> EngineWorld:
    """A secret that somebody else wrote after its PAT was adopted and before the first rotation."""
    world = make_world()
    world.secrets.write_foreign(world.location(), "theirs")
    return world


def replace_foreign(world: EngineWorld) -> None:
    """Say, as a person does, that what the secret holds now may be replaced."""
    run = world.make_run()
    adopt(run, propose(run, [NAME], everything=False, choice=Choice(replace_foreign=True)))
    world.run()


# The database.


def make_on_timeline() -> EngineWorld:
    """A world whose database tells its timeline."""
    world = make_world()
    world.database.clocks.timeline = "a1/1"
    return world


def lose_commits(world: EngineWorld) -> None:
    """Let a standby without the last commits take over."""
    backups: list[Callable[[], None]] = []
    world.database.interrupts["minting"] = lambda: backups.append(world.database.back_up())

    def promote() -> None:
        backups[0]()
        world.database.clocks.timeline = "a1/2"

    world.database.interrupts["overlapping"] = promote


def rebuild_from_vault(world: EngineWorld) -> None:
    """Run `rotator inventory rebuild`, as a person does."""
    rebuild(world.make_run(), look(world.make_run()))


# Clocks.


def make_half_overlapped() -> EngineWorld:
    """A world in the middle of an overlap."""
    return make_overlapping(12)


def set_host(ahead: timedelta) -> Arrange:
    """Set the host's clock."""
    return lambda world: setattr(world.host_clock, "ahead", ahead)


def set_database(ahead: timedelta) -> Arrange:
    """Set the clock of the database's server."""

    def fault(world: EngineWorld) -> None:
        world.database.clocks.has_clock, world.database.skew = True, ahead

    return fault


def set_witness(name: str, ahead: timedelta) -> Arrange:
    """Set the clock of a service."""
    return lambda world: world.witnesses.ahead.update({name: ahead})


def suspend(world: EngineWorld) -> None:
    """Let two days pass by every clock but the boot clock."""
    world.clock.set(timedelta(days=2))


def reboot(world: EngineWorld) -> None:
    """Begin another boot, whose clock starts anew."""
    world.clock.reboot()
