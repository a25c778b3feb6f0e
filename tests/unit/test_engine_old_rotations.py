"""Old rotations leave the journal, and nobody decides otherwise because of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.cli.output.inventory import render_record
from rotator.domain.rotation import RotationState
from rotator.engine.adopting import adopt, propose
from rotator.engine.jobs import verify_audit
from rotator.engine.looking import look
from rotator.engine.old_rotations import OLD_AFTER, archive_rotations
from rotator.engine.overview import view_record
from rotator.engine.rebuilding import rebuild
from rotator.errors import RotatorError
from rotator.ports.secret_store import StoredSecret
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.policies import RULE, make_policy
from tests.support.records import make_rotation
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


def make_aged(**span: float) -> EngineWorld:
    """A world with three rotations, each over when the next begins, that long ago."""
    world = make_world()
    for _ in range(3):
        world.run()
        world.advance(days=2)
        world.run()
        world.advance(days=24)
    world.advance(**span)
    return world


def list_lines(world: EngineWorld) -> list[str]:
    """What `inventory show` says, but for the events."""
    seen = view_record(world.database, world.policy, NAME, world.clock.now())
    return [line for line in render_record(replace(seen, events=(), has_older=False), world.clock.now()) if line]


def test_daily_check_moves_what_is_long_over_and_keeps_what_made_the_pat_in_use() -> None:
    world = make_aged()
    assert "old_rotations" not in verify_audit(world.make_run()).counts
    assert not list_lines(world)[-1].startswith("Older")
    made = world.rotations()
    world.advance(days=OLD_AFTER.days + 40)
    assert verify_audit(world.make_run()).counts["old_rotations"] == len(made) - 1
    assert [r.new_authorization_id for r in world.rotations()] == [world.record().authorization_id]
    assert list_lines(world)[-1:] == ["Older rotations are in the audit log: `rotator audit list --name npm-feed`."]
    assert "old_rotations" not in verify_audit(world.make_run()).counts
    with world.database.read() as reading:
        assert reading.journal.find_known([r.id for r in made]) == {r.id for r in made}


def test_all_move_and_are_counted_when_there_are_more_than_one_transaction_moves() -> None:
    world, long_ago = make_world(), make_rotation().created_at - timedelta(days=400)
    past = replace(make_rotation(created_at=long_ago), state=RotationState.COMPLETED, predecessor_valid_to=long_ago)
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "a person", now=work.now(), span=world.timing.lease)
        for n in range(450):
            work.journal.insert(replace(past, id=f"r{n:03}", predecessor_id=f"id-{n}"), claim)
    assert archive_rotations(world.make_run()) == 450
    assert world.rotations() == []


def test_nothing_moves_while_the_clock_is_wrong() -> None:
    world = make_aged(days=OLD_AFTER.days + 40)
    world.host_clock.ahead = timedelta(days=400)
    world.witnesses.ahead = dict.fromkeys(world.witnesses.ahead, timedelta(0))
    assert archive_rotations(world.make_run()) == 0
    world.host_clock.ahead = timedelta(0)
    assert archive_rotations(world.make_run()) > 0


def test_nothing_moves_by_the_clock_of_a_host_far_in_the_future_when_nobody_was_heard() -> None:
    """Where the database is a file, and no service answered lately; a server's clock, or a service's, is enough."""
    world = make_aged()
    young, heard = world.rotations(), dict(world.witnesses.ahead)
    world.witnesses.ahead.clear()
    world.host_clock.ahead = timedelta(days=400)
    assert archive_rotations(world.make_run()) == 0
    assert world.rotations() == young
    world.host_clock.ahead = NOUGHT
    world.advance(days=400)
    assert archive_rotations(world.make_run()) == 0
    world.witnesses.ahead.update(heard)
    assert archive_rotations(world.make_run()) == len(young) - 1


def test_old_rotations_move_by_the_clock_of_the_databases_server_when_no_service_was_heard() -> None:
    world = make_aged(days=OLD_AFTER.days + 40)
    world.witnesses.ahead.clear()
    world.database.clocks.has_clock = True
    assert archive_rotations(world.make_run()) > 0


def test_nothing_moves_by_the_clock_of_one_service_that_is_ahead() -> None:
    world = make_aged()
    world.witnesses.ahead = {name: timedelta(days=400) for name in list(world.witnesses.ahead)[:1]}
    assert archive_rotations(world.make_run()) == 0


def test_nothing_moves_on_a_new_timeline_until_it_is_compared_with_the_vaults() -> None:
    world = make_aged()
    world.database.clocks.timeline = "1"
    world.run()
    world.advance(days=OLD_AFTER.days + 40)
    world.database.clocks.timeline = "2"
    assert archive_rotations(world.make_run()) == 0
    world.run()
    assert archive_rotations(world.make_run()) > 0


def test_rotation_that_accounts_for_a_pat_stays_however_old_it_is() -> None:
    """One that failed, and the one that made the PAT which that left behind; what is beside them moves."""
    world = make_aged()
    world.rotate(NAME)
    open_one = next(rotation for rotation in world.rotations() if rotation.is_open)
    world.forget()
    world.run()
    world.advance(days=1000)
    assert archive_rotations(world.make_run()) > 0
    left = world.database.list_rotations()
    assert {rotation.id for rotation in left if rotation.state is RotationState.FAILED} == {open_one.id}
    kept = {open_one.predecessor_id, open_one.new_authorization_id}
    assert all({rotation.predecessor_id, rotation.new_authorization_id} & kept for rotation in left)


@pytest.mark.parametrize(("fault", "told"), [(CommitFault.LOCKED, 2), (CommitFault.DROPPED, 2), (CommitFault.KEPT, 0)])
def test_move_is_repeated_when_nobody_says_that_it_was_committed(fault: CommitFault, told: int) -> None:
    world = make_aged(days=OLD_AFTER.days + 40)
    made = {rotation.id for rotation in world.rotations()}
    run = world.make_run()
    world.database.faults = {world.database.begun + 1: fault}
    assert archive_rotations(run) == told
    assert not world.database.faults
    with world.database.read() as reading:
        assert reading.journal.find_known(made) == made
    assert len(world.rotations()) == 1
