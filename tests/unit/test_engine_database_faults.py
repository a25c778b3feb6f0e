"""One fault of the database harms one PAT at most, and no value that exists only in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest

from rotator.adapters.stop import ProcessStop
from rotator.domain.secret_value import SecretValue
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.keeping import forget
from rotator.engine.report import OutcomeKind
from rotator.engine.run import rotate_by_hand, run_once
from rotator.errors import ClaimHeldError, DatabaseError, DatabaseLockedError, DatabaseUnreachableError
from tests.support.engine import NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_fakes import CommitFault
from tests.support.engine_scenarios import make_overlapping
from tests.support.policies import RULE, make_policy

AT_STAKE = ("minted", "verified", "storing", "stored", "overlapping")
"""The commits between the POST and the read-back."""
WITHOUT_VALUE = ("planned", "minting")


def count_transactions(world: EngineWorld) -> int:
    """How many transactions one undisturbed run begins."""
    before = world.database.begun
    world.run()
    return world.database.begun - before


def strike(world: EngineWorld, fault: CommitFault, *numbers: int) -> None:
    """Let a fault strike transactions, counted from now on."""
    world.database.faults = {world.database.begun + number: fault for number in numbers}


def strike_mark(world: EngineWorld, fault: CommitFault, mark: str) -> None:
    """Let a fault strike the commit with this mark."""
    where = world.database.losses if fault is CommitFault.KEPT else world.database.refusals
    where[mark] = fault.make_error()


@pytest.mark.parametrize("fault", CommitFault)
@pytest.mark.parametrize("mark", AT_STAKE)
def test_value_in_memory_is_stored_when_a_commit_fails_once(mark: str, fault: CommitFault) -> None:
    undisturbed, world = make_world(), make_world()
    undisturbed.run()
    strike_mark(world, fault, mark)
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED) == []
    assert world.count("mint") == 1
    assert world.events() == undisturbed.events()
    world.finish()


@pytest.mark.parametrize("mark", ["minting", "verified"])
def test_value_in_memory_is_stored_when_reads_fail_for_a_while(mark: str) -> None:
    world = make_world()
    world.database.interrupts[mark] = lambda: setattr(world.database, "lost_reads", 3)
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert world.count("mint") == 1


@pytest.mark.parametrize("fault", CommitFault)
def test_clamped_lifetime_is_learned_once_when_its_commit_fails(fault: CommitFault) -> None:
    world = make_world()
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    strike_mark(world, fault, "minted")
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    with world.database.read() as reading:
        assert [limit.longest for limit in reading.limits.load().values()] == [timedelta(days=20)]


@pytest.mark.parametrize("mark", AT_STAKE)
def test_value_in_memory_is_stored_when_the_database_is_locked_for_two_minutes(mark: str) -> None:
    world = make_world()
    began = world.clock.now()

    def lock() -> None:
        for number in range(1, 40):
            world.database.faults[world.database.begun + number] = CommitFault.LOCKED
        world.clock.slept.clear()

    before = {"minted": "minting", "verified": "minted", "storing": "verified", "stored": "storing"}
    world.database.interrupts[before.get(mark, "stored")] = lock
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert timedelta(minutes=2) < world.clock.now() - began < world.timing.lease
    assert max(world.clock.slept) <= 4


def test_value_is_given_up_when_the_database_stays_locked_until_the_claim_ends() -> None:
    world = make_world()
    began = world.clock.now()
    world.database.interrupts["minting"] = lambda: strike(world, CommitFault.LOCKED, *range(1, 200))
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["database_locked"]
    assert (
        world.timing.lease - timedelta(seconds=10)
        < world.clock.now() - began
        <= world.timing.lease + timedelta(seconds=10)
    )
    assert world.count("store") == 0
    world.database.faults.clear()
    world.advance(minutes=11)
    world.finish()


def test_commit_is_not_repeated_when_another_run_has_taken_over_meanwhile() -> None:
    world = make_world()

    def take_over(_event: Event, _seconds: float) -> bool:
        world.advance(minutes=6)
        with world.database.begin() as work:
            work.claims.claim(NAME, "other-run", now=work.now(), span=world.timing.lease)
        return False

    world.stop = ProcessStop(pause=take_over)
    world.database.interrupts["minting"] = lambda: strike(world, CommitFault.LOCKED, 1)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["claim_lost"]
    assert world.states() == ["minting"]


@pytest.mark.parametrize("mark", WITHOUT_VALUE)
@pytest.mark.parametrize("fault", CommitFault)
def test_nothing_is_repeated_when_no_value_is_at_stake(mark: str, fault: CommitFault) -> None:
    world = make_world()
    strike_mark(world, fault, mark)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == [fault.make_error().code]
    assert world.count("mint") == 0
    assert world.record().last_failure is None
    world.advance(minutes=11)
    world.finish()


@pytest.mark.parametrize("fault", CommitFault)
def test_nothing_is_repeated_when_the_value_was_given_up(fault: CommitFault) -> None:
    """The clone does not authenticate: its revocation is finished by a later run, as any other."""
    world = make_world()
    world.pats.change_minted = lambda minted: replace(minted, value=SecretValue("rubbish"))
    world.database.interrupts["abandoning"] = lambda: strike_mark(world, fault, "abandoned")
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == [fault.make_error().code]
    world.pats.change_minted = None
    world.advance(minutes=11)
    world.finish()


@pytest.mark.parametrize("fault", CommitFault)
def test_nothing_is_repeated_when_the_value_was_read_back(fault: CommitFault) -> None:
    """The overlap is over immediately: its end is finished by a later run, as any other."""
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(0))))
    strike_mark(world, fault, "retiring")
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED) == [fault.make_error().code]
    world.advance(minutes=11)
    world.finish()


@pytest.mark.parametrize("fault", CommitFault)
def test_run_goes_on_when_any_one_transaction_fails(fault: CommitFault) -> None:
    """Whatever it belongs to: at most one of two PATs fails, and the next runs bring both to rest."""
    for number in range(1, count_transactions(make_world("a", "b")) + 1):
        world = make_world("a", "b")
        strike(world, fault, number)
        report = world.run()
        assert len(codes_of(report, OutcomeKind.FAILED)) <= 1, number
        assert world.count("mint") >= 1, number
        world.advance(minutes=11)
        world.finish("a")
        world.finish("b")


@pytest.mark.parametrize("fault", CommitFault)
def test_retirement_is_finished_later_when_any_one_transaction_fails(fault: CommitFault) -> None:
    for number in range(1, count_transactions(make_overlapping(disabling=True)) + 1):
        world = make_overlapping(disabling=True)
        strike(world, fault, number)
        world.run()
        world.finish()


def test_each_pat_fails_by_itself_when_the_database_goes_away() -> None:
    world = make_world("a", "b", "c")
    world.database.interrupts["planned"] = lambda: strike(world, CommitFault.DROPPED, *range(1, 500))
    report = world.run()
    assert names_of(report, OutcomeKind.FAILED) == ["a", "b", "c"]
    assert set(codes_of(report, OutcomeKind.FAILED)) == {"database_unreachable"}
    assert find_code_of_report(report) == 1
    assert world.count("mint") == 0
    world.database.faults.clear()
    for name in ("a", "b", "c"):
        world.finish(name)


def test_run_ends_when_the_database_is_away_from_the_start() -> None:
    world = make_world()
    strike(world, CommitFault.DROPPED, *range(1, 100))
    with pytest.raises(DatabaseUnreachableError):
        world.run()
    assert sum(world.clock.slept) <= 5


def test_run_outlasts_a_lock_that_a_frozen_process_holds() -> None:
    world = make_world()
    strike(world, CommitFault.LOCKED, 1, 2, 3, 4)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_run_ends_when_the_lock_never_ends() -> None:
    world = make_world()
    strike(world, CommitFault.LOCKED, *range(1, 100))
    with pytest.raises(DatabaseLockedError):
        world.run()


def test_policy_is_recorded_once_when_its_commit_was_not_answered() -> None:
    world = make_world()
    strike(world, CommitFault.KEPT, 1)
    world.run()
    assert world.events("policy") == ["policy_changed succeeded"]


def test_claim_is_given_back_when_that_fails_once() -> None:
    world = make_world()
    transactions = count_transactions(make_world())
    for fault in CommitFault:
        world = make_world()
        strike(world, fault, transactions)
        assert codes_of(world.run(), OutcomeKind.FAILED) == []
        with world.database.begin() as work:
            work.claims.claim(NAME, "other-run", now=work.now(), span=world.timing.lease)


def test_pat_that_is_forgotten_during_a_run_is_left_out() -> None:
    world = make_world("a", "b")
    world.add_managed("c", days_left=4.9)
    world.database.interrupts["planned"] = lambda: forget_beside(world, "b")
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == ["c", "a"]
    assert codes_of(report, OutcomeKind.FAILED) == []
    assert world.events("b") == ["pat_forgotten succeeded"]


def test_pat_that_is_forgotten_is_a_failure_when_a_person_named_it() -> None:
    world = make_world("a", "b")
    world.database.interrupts["planned"] = lambda: forget_beside(world, "b")
    report = world.watch(lambda: rotate_by_hand(world.make_run(), ["a", "b"]))
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]
    assert codes_of(report, OutcomeKind.FAILED) == ["unknown_name"]


def forget_beside(world: EngineWorld, name: str) -> None:
    """A person forgets a ManagedPat while a run is at work."""
    forget(world.make_run(), name)


def test_stop_ends_the_repeating_when_its_time_is_over() -> None:
    world = make_world()
    began = world.clock.now()

    def stop_locked() -> None:
        strike(world, CommitFault.LOCKED, *range(1, 200))
        world.stop.set()

    world.database.interrupts["minted"] = stop_locked
    report = run_once(world.make_run())
    assert report.is_stopped
    assert world.clock.now() - began <= world.timing.stop_within
    world.database.faults.clear()


def test_claim_that_cannot_be_given_back_ends_by_itself() -> None:
    world = make_world()
    transactions = count_transactions(make_world())
    strike(world, CommitFault.LOCKED, *range(transactions, transactions + 50))
    report = world.run()
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED) == ["database_locked"]
    world.database.faults.clear()
    with pytest.raises(ClaimHeldError), world.database.begin() as work:
        work.claims.claim(NAME, "other-run", now=work.now(), span=world.timing.lease)
    world.advance(minutes=5)
    world.finish()


def test_fault_that_does_not_pass_is_not_waited_for() -> None:
    world = make_world()
    world.database.refusals["minted"] = DatabaseError("the disk is full", code="database_full")
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["database_full"]
    assert world.clock.slept == []
    world.advance(minutes=11)
    world.finish()
