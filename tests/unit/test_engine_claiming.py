"""Who may work on a ManagedPat, and what happens when that, or the audit log, is lost in the middle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.domain.events.inventory import PatPaused
from rotator.engine.claiming import claimed
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import run_once
from rotator.errors import ClaimHeldError, DatabaseError, RotationError, UsageError
from tests.support.engine import MUTATIONS, NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_late_store, make_overlapping

LEASE = timedelta(minutes=6)


def claim_elsewhere(world: EngineWorld, name: str = NAME) -> None:
    """Another run claims the ManagedPat."""
    with world.database.begin() as work:
        work.claims.claim(name, "other-run", now=work.now(), span=world.timing.lease)


def list_mutations(world: EngineWorld, start: int = 0) -> list[str]:
    """The mutating calls from a place of the timeline on."""
    return [mark for mark in world.timeline[start:] if mark in MUTATIONS]


def test_pat_is_left_alone_when_another_run_has_it() -> None:
    world = make_world("a", "b")
    claim_elsewhere(world, "a")
    report = world.run()
    assert names_of(report, OutcomeKind.HELD) == ["a"]
    assert names_of(report, OutcomeKind.ROTATED) == ["b"]
    assert find_code_of_report(report) == 0
    assert world.states("a") == []


def test_exit_code_is_11_when_other_runs_have_everything() -> None:
    world = make_world()
    claim_elsewhere(world)
    report = world.run()
    assert find_code_of_report(report) == 11
    assert list_mutations(world) == []


def test_pat_is_worked_on_when_the_other_runs_claim_has_ended() -> None:
    world = make_world()
    claim_elsewhere(world)
    world.clock.advance(LEASE)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_claim_is_given_back_when_the_work_is_done() -> None:
    world = make_world()
    world.run()
    claim_elsewhere(world)


def test_claim_is_given_back_when_the_work_fails() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    claim_elsewhere(world)
    run = world.make_run()
    with pytest.raises(ClaimHeldError) as caught, claimed(run, NAME):
        pass
    assert caught.value.exit_code == 11


def test_claim_is_refused_when_the_same_run_works_on_the_pat_already() -> None:
    world = make_world()
    run = world.make_run()
    with claimed(run, NAME) as held:
        with pytest.raises(ClaimHeldError), claimed(run, NAME):
            pass
        held.check_claim()
        held.save(held.pat, PatPaused())


def test_second_run_of_a_process_leaves_the_pat_alone_when_the_first_works_on_it() -> None:
    world = make_world()
    services = world.make_services()
    reports: list[RunReport] = []
    world.database.interrupts["minted"] = lambda: reports.append(run_once(world.make_run(services)))
    first = run_once(world.make_run(services))
    assert names_of(first, OutcomeKind.ROTATED) == [NAME]
    assert [names_of(report, OutcomeKind.HELD) for report in reports] == [[NAME]]
    assert world.count("mint") == 1


def test_claim_of_another_run_stays_when_ours_was_lost() -> None:
    world = make_world()
    world.database.interrupts["minted"] = lambda: take_over(world)
    world.run()
    with pytest.raises(ClaimHeldError), claimed(world.make_run(), NAME):
        pass


def take_over(world: EngineWorld) -> None:
    """We are frozen beyond our lease, and another run claims the ManagedPat meanwhile."""
    world.clock.advance(LEASE)
    claim_elsewhere(world)


# The request that must not be sent after a lost lease, by the commit after which we are frozen.

FREEZES = [
    ("planned", "prove_writable", "abandoned"),
    ("minting", "mint", "abandoned"),
    ("storing", "store", "abandoned"),
]


@pytest.mark.parametrize(("mark", "call", "state"), FREEZES)
def test_next_request_is_not_sent_when_the_lease_ran_out_before_it(mark: str, call: str, state: str) -> None:
    world = make_world()
    world.database.interrupts[mark] = lambda: world.clock.advance(LEASE)
    report = world.run()
    assert call not in world.timeline
    assert codes_of(report, OutcomeKind.FAILED) == ["claim_lost"]
    world.advance(minutes=11)
    world.run()
    assert world.states() == [state, "overlapping"]
    world.finish()


@pytest.mark.parametrize("mark", ["planned", "minting", "minted", "verified", "storing", "stored"])
def test_nothing_more_is_sent_or_written_when_another_run_has_taken_over(mark: str) -> None:
    world = make_world()
    frozen: dict[str, object] = {}

    def freeze() -> None:
        take_over(world)
        frozen.update(sent=len(list_mutations(world)), states=world.states(), events=world.events())

    world.database.interrupts[mark] = freeze
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["claim_lost"]
    assert frozen == {"sent": len(list_mutations(world)), "states": world.states(), "events": world.events()}
    world.advance(minutes=11)
    world.finish()


def test_old_pat_is_not_revoked_when_the_lease_ran_out_before() -> None:
    world = make_overlapping()
    world.database.interrupts["retiring"] = lambda: take_over(world)
    world.run()
    assert world.count("revoke") == 0
    assert world.states() == ["retiring"]
    world.clock.advance(LEASE)
    world.run()
    assert world.states() == ["completed"]


def test_clone_is_not_revoked_when_the_lease_ran_out_before() -> None:
    world = make_world()
    world.run_and_die(after="verified")
    world.clock.advance(LEASE)
    world.database.interrupts["abandoning"] = lambda: take_over(world)
    world.run()
    assert world.count("revoke") == 0
    world.clock.advance(LEASE)
    world.run()
    world.finish()


def test_value_is_not_put_back_when_the_lease_ran_out_before() -> None:
    world = make_late_store()
    stored = world.count("store")
    world.database.interrupts["restore_started"] = lambda: take_over(world)
    world.run()
    assert world.count("store") == stored
    world.clock.advance(LEASE)
    world.run()
    assert world.count("store") == stored + 1
    world.check_served()


def test_work_needs_a_managed_pat_and_a_rotation_when_claimed() -> None:
    world = make_world()
    with pytest.raises(UsageError, match="ghost"), claimed(world.make_run(), "ghost"):
        pass
    with claimed(world.make_run(), NAME) as held, pytest.raises(RotationError, match="no open rotation"):
        assert held.rotation


# The audit log cannot be written: after k events, for every k that a run has.

FLOWS: dict[str, tuple[Callable[[], EngineWorld], int]] = {
    "rotating": (make_world, 8),
    "retiring": (make_overlapping, 2),
    "disabling": (lambda: make_overlapping(disabling=True), 2),
    "restoring": (make_late_store, 2),
}


def run_on_full_disk(world: EngineWorld, *, ends_at_once: bool) -> None:
    """One run: it is the PAT's failure, or the run's where not even the policy can be recorded."""
    if ends_at_once:
        with pytest.raises(DatabaseError, match="disk is full"):
            world.run()
    else:
        assert codes_of(world.run(), OutcomeKind.FAILED) == ["database_full"]


@pytest.mark.parametrize(("flow", "events"), [(flow, k) for flow, (_, most) in FLOWS.items() for k in range(most)])
def test_nothing_more_is_mutated_when_the_audit_log_takes_no_more(flow: str, events: int) -> None:
    world = FLOWS[flow][0]()
    start = len(world.timeline)
    world.database.audit_left = events
    run_on_full_disk(world, ends_at_once=(flow, events) == ("rotating", 0))
    sent = list_mutations(world, start)
    assert list_mutations(world, world.timeline.index("audit_refused")) == []
    assert len([call for call in sent if call != "disable"]) <= events
    world.database.audit_left = None
    world.advance(minutes=11)
    world.finish()


@pytest.mark.parametrize("flow", FLOWS)
def test_nothing_at_all_is_mutated_when_the_audit_log_is_read_only(flow: str) -> None:
    world = FLOWS[flow][0]()
    start = len(world.timeline)
    world.database.audit_left = 0
    for _ in range(3):
        run_on_full_disk(world, ends_at_once=flow == "rotating")
        world.advance(minutes=7)
    assert list_mutations(world, start) == []
