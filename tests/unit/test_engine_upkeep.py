"""`rotator once` where no daemon is: the values are tried and the log is verified, spread over the runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.job_run import JobName, JobOutcome, JobRun, make_period
from rotator.domain.probe import make_pause
from rotator.engine.run import run_once
from rotator.engine.run_memory import run_and_remember
from rotator.engine.upkeep import keep_up
from rotator.errors import DatabaseUnreachableError
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def once(world: EngineWorld) -> list[str]:
    """One `rotator once`; the codes of what went wrong after its run."""
    run = world.make_run()
    run_and_remember(run, run_once)
    return [error.code for error in keep_up(run, DAY, DAY)]


def find_last(world: EngineWorld, job: JobName) -> JobRun | None:
    """The newest run of a job."""
    with world.database.read() as reading:
        return reading.job_runs.find_last(job, world.clock.now())


def count_tries(world: EngineWorld) -> int:
    """How often a value was tried."""
    return len(world.pats.tried)


def make_fleet(count: int) -> EngineWorld:
    """So many PATs, none of which is due."""
    world = make_world("pat-0")
    for number in range(1, count):
        world.add_managed(f"pat-{number}", days_left=25)
    once(world)
    return world


def test_first_run_tries_no_value_and_the_second_verifies_the_log_too() -> None:
    world = make_fleet(3)
    before = count_tries(world)
    assert find_last(world, JobName.PROBE) is None
    assert find_last(world, JobName.VERIFY_AUDIT) is None
    world.advance(hours=1)
    assert once(world) == []
    assert count_tries(world) == before + 3
    for job in (JobName.PROBE, JobName.VERIFY_AUDIT):
        last = find_last(world, job)
        assert last is not None
        assert (last.outcome, last.ended_at) == (JobOutcome.SUCCEEDED, world.clock.now())


@pytest.mark.parametrize("runs_per_day", [1, 6, 24])
def test_each_value_is_tried_once_a_day_however_often_cron_runs(runs_per_day: int) -> None:
    """And no run tries many more than its share."""
    world, span = make_fleet(120), DAY / runs_per_day
    shares = list[int]()
    for _ in range(3 * runs_per_day):
        world.clock.advance(span)
        before = count_tries(world)
        once(world)
        shares.append(count_tries(world) - before)
    assert 110 <= sum(shares[-runs_per_day:]) <= 130
    assert max(shares) <= max(8, 240 / runs_per_day)


def test_runs_that_follow_one_another_quickly_try_nothing_twice() -> None:
    """Nor anything that a daemon has just tried."""
    world = make_fleet(3)
    world.advance(hours=1)
    once(world)
    before = count_tries(world)
    world.advance(minutes=1)
    once(world)
    assert count_tries(world) == before
    world.advance(days=2)
    once(world)
    before = count_tries(world)
    world.advance(hours=23)
    now, period = world.clock.now(), make_period(world.clock.now(), make_pause(DAY))
    with world.database.begin() as work:
        work.job_runs.end(JobRun(JobName.PROBE, period, "daemon-1", now, now, JobOutcome.SUCCEEDED))
    once(world)
    assert count_tries(world) == before


def test_value_that_is_refused_in_two_runs_is_told() -> None:
    world = make_fleet(2)
    world.pats.pats[world.record("pat-1").authorization_id].value = "not the value that anybody has"
    for _ in range(2):
        world.advance(hours=1)
        assert once(world) == []
    with world.database.read() as reading:
        lasting = reading.conditions.load_of([ConditionKind.PROBE_FAILING])
    assert [found.subject for found in lasting] == ["pat-1"]


def test_vault_that_is_away_proves_nothing_and_is_remembered() -> None:
    world = make_fleet(2)
    world.advance(hours=1)
    world.secrets.fail("fetch_latest", make_busy(), times=5)
    assert once(world) == []
    last = find_last(world, JobName.PROBE)
    assert last is not None
    assert last.outcome is JobOutcome.FAILED


def test_what_goes_wrong_is_told_and_the_run_keeps_its_report() -> None:
    """A log that was altered, a database that is gone after the run."""
    world = make_fleet(2)
    world.advance(hours=1)
    with world.database.read() as reading:
        event = reading.audit.load(2)
    assert event is not None
    world.database.alter(replace(event, hash="0" * 64))
    assert once(world) == ["audit_chain_broken"]
    told = [line for event, line in world.told if event == "job_failed"]
    assert [(line["job"], line["code"]) for line in told] == [("verify_audit", "audit_chain_broken")]
    run = world.make_run()
    run_and_remember(run, run_once)
    world.database.lost_reads = 10
    assert [type(error) for error in keep_up(run, DAY, DAY)] == [DatabaseUnreachableError] * 2


def test_stopped_run_leaves_the_rest_to_the_next_one() -> None:
    world = make_fleet(2)
    world.advance(hours=1)
    run = world.make_run()
    run_and_remember(run, run_once)
    world.stop.set()
    assert keep_up(run, DAY, DAY) == ()
    assert find_last(world, JobName.PROBE) is None
    assert NAME not in str(world.told)
