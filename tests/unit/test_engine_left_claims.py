"""A daemon lives on, and could not give back what its work had claimed: it does that as soon as it can."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from rotator.engine.claiming import claimed
from rotator.engine.jobs import work_due
from rotator.engine.lives import end_life
from rotator.engine.report import OutcomeKind
from rotator.errors import ClaimHeldError, DatabaseError
from tests.support.engine import NAME, EngineWorld, names_of
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.unit.test_engine_heartbeats import BEAT, Replica, make_replicas


def leave(world: EngineWorld, daemon: Replica) -> None:
    """The database goes away right after the plan, for longer than a claim that is given back waits for it."""
    world.database.interrupts["planned"] = lambda: world.database.faults.update(
        (world.database.begun + number, CommitFault.DROPPED) for number in range(1, 40)
    )
    with suppress(DatabaseError):
        daemon.run()
    world.database.faults.clear()
    assert world.states() == ["planned"]
    assert world.database.dump().count(daemon.process) > 0


def find_held(world: EngineWorld, daemon: Replica) -> frozenset[str]:
    """What a daemon sees to be held."""
    with daemon.make_run().services.database.read() as reading:
        return reading.claims.find_held([NAME], now=reading.now(), span=world.timing.lease)


def test_work_goes_on_with_the_next_tick_when_the_database_was_away_after_the_plan() -> None:
    world, first, second = make_replicas()
    leave(world, first)
    assert find_held(world, second) == {NAME}
    world.clock.advance(timedelta(seconds=1))
    work_due(first.make_run(), first.pulse)
    assert world.states()[-1] == "overlapping"
    world.finish()


def test_heartbeat_gives_back_what_was_left_so_that_others_may_go_on() -> None:
    world, first, second = make_replicas()
    leave(world, first)
    first.beat()
    assert not find_held(world, second)
    assert names_of(second.run(), OutcomeKind.ROTATED, OutcomeKind.RECOVERED) == [NAME]
    world.finish()


def test_stop_gives_back_what_was_left() -> None:
    world, first, second = make_replicas()
    leave(world, first)
    end_life(first.make_run(), first.pulse.holder, first.pulse.began_at)
    assert not find_held(world, second)
    world.finish()


@pytest.mark.parametrize("fault", CommitFault)
def test_claim_whose_commit_got_no_answer_is_given_back(fault: CommitFault) -> None:
    world, first, second = make_replicas()
    run = first.make_run()
    world.database.faults = {world.database.begun + 1: fault}
    with pytest.raises(DatabaseError), claimed(run, NAME):
        raise AssertionError("there is no claim")
    first.beat()
    assert not find_held(world, second)
    with claimed(second.make_run(), NAME):
        pass


def test_claim_that_another_took_over_meanwhile_is_not_given_back() -> None:
    world, first, second = make_replicas()
    leave(world, first)
    for _ in range(3):
        world.clock.advance(BEAT)
        second.beat()
    with claimed(second.make_run(), NAME) as held:
        first.beat()
        held.check_claim()
        with pytest.raises(ClaimHeldError), claimed(first.make_run(), NAME):
            raise AssertionError("two have it")


def test_live_claim_of_another_thread_is_left_alone() -> None:
    world, first, _ = make_replicas()
    with claimed(first.make_run(), NAME) as held:
        first.beat()
        work_due(first.make_run(), first.pulse)
        held.check_claim()
    assert world.states() == []


def test_value_in_memory_keeps_its_claim_while_the_database_is_away() -> None:
    """Its work is not over: another thread's tick gives nothing back."""
    world, first, _ = make_replicas()

    def lose() -> None:
        world.database.faults = {world.database.begun + 1: CommitFault.DROPPED}
        with suppress(DatabaseError):
            first.beat()
        first.beat()
        world.database.faults = {world.database.begun + 1: CommitFault.DROPPED}

    world.database.interrupts["minted"] = lose
    assert names_of(first.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.count("mint") == 1
    world.finish()


def test_claim_comes_back_with_a_failover_that_lost_that_it_was_given_back() -> None:
    """The run that made it has ended, and the daemon lives: else nobody would go on until the lease is over."""
    world, first, second = make_replicas()
    restores: list[Callable[[], None]] = []
    world.database.interrupts["planned"] = lambda: restores.append(world.database.back_up())
    first.run()
    restores[0]()
    assert find_held(world, second) == {NAME}
    first.beat()
    assert not find_held(world, second)


def test_claim_of_a_thread_that_works_is_no_claim_that_came_back() -> None:
    world, first, second = make_replicas()
    for _ in range(2):
        with claimed(first.make_run(), NAME) as held:
            with pytest.raises(ClaimHeldError), claimed(first.make_run(), NAME):
                raise AssertionError("two have it")
            first.beat()
            held.check_claim()
            assert find_held(world, second) == {NAME}
        assert not find_held(world, second)


@pytest.mark.parametrize("mark", ["minted", "stored"])
def test_what_was_sent_is_looked_at_as_soon_as_a_dead_daemons_claim_is_over(mark: str) -> None:
    """It took effect, and the daemon died before it noted that: nothing is to be waited for (`rotation.settle`)."""
    world, first, second = make_replicas()
    world.database.dies_before = mark
    with pytest.raises(ProcessDied):
        first.run()
    world.database.revive()
    for _ in range(3):
        world.clock.advance(BEAT)
        second.beat()
        work_due(second.make_run(), second.pulse)
    assert world.states()[-1] == "overlapping"
    world.finish()
