"""The wall clock of a running daemon is set, its boot clock is not: the jobs go on, and nothing is changed meanwhile.

Alone, APScheduler begins nothing for an hour after it was set back by one, and takes 896 MiB for a jump of 400 days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.support.daemon import RunningDaemon, set_overlap, start_daemon
from tests.support.killing import CHANGES, Stage, open_stage
from tests.support.moved_clock import MovedWallClock
from tests.support.proving import with_sample

pytestmark = [pytest.mark.prove, pytest.mark.timeout(1200)]

MINT, _, REVOKE = CHANGES
JOBS = ("work", "refresh", "reconcile", "probe", "verify_audit", "heartbeat")
OTHER = "npm-feed"
MOST_GROWTH = 48 * 1024
"""KiB that the process may grow by. Each job is done for the first time after the first measurement, too."""
JUMPS = {"back 1 h": (timedelta(hours=-1),), "on 3 d": (timedelta(days=3),), "on 400 d": (timedelta(days=400),)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage with a PAT that is due, and whose overlap outlasts the test."""
    with open_stage(tmp_path / "stage") as stage:
        stage.reset(lease="1h")
        set_overlap(stage, "1h")
        yield stage


def read_traces(stage: Stage) -> dict[str, object]:
    """What each job has left in the database so far: it changes whenever the job is done."""
    engine = create_engine(stage.database.url(), poolclass=NullPool)
    with engine.connect() as connection:
        runs = connection.execute(text("SELECT job, period, began_at, ended_at FROM job_run")).all()
        beats = connection.execute(text("SELECT beat_at, work_began_at FROM heartbeat")).all()
    traces: dict[str, object] = {job: {row for row in runs if row.job == job} for job in JOBS}
    return traces | {"heartbeat": [row.beat_at for row in beats], "work": [row.work_began_at for row in beats]}


def await_every_job(daemon: RunningDaemon, times: int = 2) -> None:
    """Wait until each job was done so often since now."""
    for _ in range(times):
        before = read_traces(daemon.stage)
        daemon.wait_until(partial(was_each_done_since, daemon.stage, before))


def was_each_done_since(stage: Stage, before: dict[str, object]) -> bool:
    """Whether each job was done since these were its traces."""
    return all(seen != before[job] for job, seen in read_traces(stage).items())


def read_memory(daemon: RunningDaemon, field: str) -> int:
    """A figure of the memory of the process, in KiB."""
    status = Path(f"/proc/{daemon.run.process.pid}/status").read_text(encoding="utf-8")
    [found] = re.findall(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found)


def count_changes(stage: Stage) -> int:
    """How many PATs were asked for or revoked."""
    record = stage.world.record
    return sum(path in entry.path for service, method, path in (MINT, REVOKE) for entry in record.all(service, method))


@pytest.mark.parametrize("ahead", with_sample(JUMPS, ["on 400 d"]))
def test_jobs_go_on_and_nothing_is_changed_while_the_wall_clock_is_wrong(
    stage: Stage, tmp_path: Path, ahead: timedelta
) -> None:
    """What fell due meanwhile is rotated once the clock is right again; the overlap is not over."""
    clock = MovedWallClock(tmp_path)
    daemon = start_daemon(stage, clock.environment, **dict.fromkeys(JOBS, "1s"))
    daemon.wait_for("overlap_started")
    await_every_job(daemon)
    before, resident = count_changes(stage), read_memory(daemon, "VmRSS")
    clock.move(ahead)
    daemon.wait_for("clock_doubted")
    adopted = stage.start("inventory", "adopt", OTHER)
    assert adopted.wait() == 0, adopted.read()
    await_every_job(daemon)
    assert count_changes(stage) == before
    assert read_memory(daemon, "VmHWM") - resident < MOST_GROWTH
    clock.move(timedelta(0))
    daemon.wait_for("clock_confirmed")
    daemon.wait_for("overlap_started", 2)
    await_every_job(daemon)
    assert read_memory(daemon, "VmHWM") - resident < MOST_GROWTH
    assert daemon.stop() == 0
    assert "revoke_started" not in daemon.list_events()
    assert "scheduler_restarted" not in daemon.list_events()
    stage.check_consumers()
