"""The port JobRuns, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, JobRun
from rotator.domain.managed_pat import Failure
from rotator.errors import FailureKind
from rotator.ports.database import Database
from tests.support.records import DAY, NOW

REFRESH = JobRun(JobName.REFRESH, NOW, "run-1@host#1.1", NOW)
DONE = replace(REFRESH, ended_at=NOW + timedelta(seconds=3), outcome=JobOutcome.SUCCEEDED, counts={"refreshed": 2})
FAILED = replace(
    DONE, outcome=JobOutcome.FAILED, counts={}, failure=Failure("denied", "refused", "Allow it.", FailureKind.FORBIDDEN)
)
ELSEWHERE = "run-2@elsewhere#2.2"


def end(database: Database, *runs: JobRun) -> None:
    """Note how these ended, each in a transaction of its own."""
    for run in runs:
        with database.begin() as work:
            work.job_runs.end(run)


def begin(database: Database, run: JobRun) -> bool:
    """Begin it."""
    with database.begin() as work:
        return work.job_runs.begin(run)


def find(database: Database, until: datetime = NOW, outcome: JobOutcome | None = None) -> JobRun | None:
    """Find the newest run of the job."""
    with database.read() as reading:
        return reading.job_runs.find_last(JobName.REFRESH, until, outcome)


def test_run_is_given_back_when_it_was_begun_and_ended(database: Database) -> None:
    """With every field; a time of another zone keeps its moment; other jobs are other runs."""
    assert find(database) is None
    east = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert begin(database, replace(REFRESH, period=east))
    assert find(database) == REFRESH
    for ended in (FAILED, DONE):
        end(database, replace(ended, job=JobName.WORK), ended)
        assert find(database) == ended


def test_newest_run_is_found_when_there_are_several(database: Database) -> None:
    """Of any outcome, or of one; what a clock that was ahead has written is left out."""
    ahead = replace(DONE, period=NOW + DAY)
    later = replace(FAILED, period=NOW - timedelta(hours=1))
    earlier = replace(DONE, period=NOW - timedelta(hours=2))
    end(database, ahead, later, earlier)
    assert find(database) == later
    assert find(database, outcome=JobOutcome.SUCCEEDED) == earlier
    assert find(database, outcome=JobOutcome.STOPPED) is None
    assert find(database, NOW + DAY) == ahead


@pytest.mark.parametrize(
    ("found", "may"),
    [(REFRESH, False), (DONE, False), (FAILED, True), (replace(DONE, outcome=JobOutcome.STOPPED), True)],
    ids=["at it", "done", "failed", "stopped"],
)
def test_period_is_begun_by_another_process_only_when_the_first_did_not_do_it(
    database: Database, found: JobRun, may: bool
) -> None:
    end(database, found)
    other = replace(REFRESH, holder=ELSEWHERE)
    assert begin(database, other) is may
    assert find(database) == (other if may else found)


def test_period_is_begun_again_when_the_same_process_asks(database: Database) -> None:
    """A clock that was set back makes a daemon meet its own past periods."""
    end(database, DONE)
    assert begin(database, REFRESH)
    assert find(database) == REFRESH


def test_one_process_does_a_period_when_eight_begin_it(database: Database) -> None:
    runs = [replace(REFRESH, holder=f"run-{number}@host#{number}.1") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda run: begin(database, run), runs)) == 1


def test_runs_are_forgotten_after_thirty_days_except_the_newest_success(database: Database) -> None:
    old = [replace(DONE, period=NOW - days * DAY) for days in (40, 50)]
    failed = [replace(FAILED, period=NOW - days * DAY) for days in (31, 29)]
    end(database, *old, *failed, FAILED)
    assert find(database, NOW - 45 * DAY) is None
    assert find(database, NOW - 32 * DAY) == old[0]
    assert find(database, NOW - 30 * DAY) == failed[0]
    end(database, replace(DONE, period=NOW + timedelta(hours=1)))
    assert find(database, NOW - 30 * DAY) is None
    assert find(database, NOW - DAY) == failed[1]


def test_heartbeat_is_written_in_place(database: Database) -> None:
    """One for each daemon, the newest first; those that stopped long ago are forgotten."""
    first = Heartbeat("a@host#1.1", NOW - DAY, NOW - DAY)
    other = Heartbeat("b@host#2.2", NOW - DAY, NOW - timedelta(hours=1), NOW - DAY, NOW - DAY)
    with database.begin() as work:
        work.job_runs.beat(first)
        work.job_runs.beat(other)
    again = replace(first, beat_at=NOW, work_began_at=NOW)
    with database.begin() as work:
        work.job_runs.beat(again)
        assert work.job_runs.load_heartbeats() == (again, other)
        work.job_runs.forget_heartbeats(NOW - timedelta(minutes=1))
    with database.read() as reading:
        assert reading.job_runs.load_heartbeats() == (again,)


def test_daemon_that_is_silent_is_ended_once(database: Database) -> None:
    """Not one that beats, that stopped, that nobody saw to be silent, or whose claims do not bind by its heartbeats."""
    long = timedelta(minutes=5)
    with database.begin() as work:
        for number, (name, binds_for) in enumerate({"dead": long, "lives": long, "stopped": long, "old": None}.items()):
            began = NOW - DAY + number * timedelta(seconds=1)
            beat_at = NOW if name == "lives" else NOW - 3 * long
            work.job_runs.beat(Heartbeat(name, began, beat_at, binds_for=binds_for))
            life = JobRun(JobName.HEARTBEAT, began, name, began)
            work.job_runs.begin(life)
            if name == "stopped":
                work.job_runs.end(replace(life, outcome=JobOutcome.STOPPED, ended_at=NOW))
    seen = {"dead", "lives", "stopped", "old"}
    for asked, found in ((seen - {"dead"}, []), (seen, ["dead"]), (seen, [])):
        with database.begin() as work:
            assert [beat.holder for beat in work.job_runs.end_silent(asked, NOW - long, NOW)] == found
