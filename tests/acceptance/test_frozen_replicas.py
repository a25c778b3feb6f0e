"""One of several is frozen, with SIGSTOP, in every phase; another takes over; what thaws does nothing.

It is frozen at each request, and right after each commit of the work on a PAT: a commit is the end of one phase and the
beginning of the next. The daemons have PostgreSQL in common, and a lease that outlasts the test: what they go by is
the heartbeat.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.job_run import JobName, JobOutcome, JobRun, make_period
from rotator.engine.tags import AUTHORIZATION_TAG
from tests.acceptance.test_kill_create import CREATE, CREATION, finish
from tests.support.daemon import RunningDaemon, set_overlap, write_settings
from tests.support.killing import CHANGES, RECORD_COMMITS, Run, Stage, open_stage, read_commits
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample
from tests.support.sent import (
    IDENTITY,
    LIST,
    MINT,
    READ,
    REVOKE,
    SHOW,
    STORE,
    TAG,
    VERSIONS,
    WRITTEN,
    Sent,
    check_requests,
    list_points,
)

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

ROTATION = (
    *(IDENTITY, LIST, SHOW, VERSIONS, VERSIONS, VERSIONS, READ, TAG),
    *(MINT, SHOW, IDENTITY, STORE, WRITTEN, READ),
    *(READ, VERSIONS, IDENTITY, SHOW, LIST, LIST, SHOW, LIST, REVOKE, LIST, LIST),
)
"""Every request of a daemon that rotates and retires: what `once` sends, without its look at everything before."""
RETIREMENT = (IDENTITY, LIST, READ, READ, VERSIONS, IDENTITY, REVOKE, LIST, LIST)
"""Every request of a daemon that finds an overlap over."""
CALM, OVERLAPPING = "calm", "overlapping"
"""States of the stage in which no other job is due than the work: before a rotation, and before a retirement."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: signed in, with one PAT adopted; and the same, once its overlap is over."""
    with open_calm_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        set_overlap(stage, "3s")
        run = stage.start("once")
        assert run.wait() == 0, run.read()
        assert stage.find_open_states() == ["overlapping"]
        stage.remember(OVERLAPPING)
        yield stage


def do_other_jobs(stage: Stage) -> None:
    """Note that today's refresh and today's look at everything were done."""
    now, database = datetime.now(UTC), SqlDatabase(stage.database.url())
    with database.begin() as work:
        for job in (JobName.REFRESH, JobName.RECONCILE, JobName.PROBE, JobName.VERIFY_AUDIT, JobName.AUDIT_RECONCILE):
            today = make_period(now, timedelta(days=1))
            work.job_runs.end(JobRun(job, today, "another", now, now, JobOutcome.SUCCEEDED))
    database.close()


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset(lease="1h", to=CALM)
    return prepared


@contextmanager
def open_calm_stage(folder: Path, server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: signed in, with one PAT adopted, and no other job due than the work."""
    with open_stage(folder, server) as stage:
        stage.reset()
        do_other_jobs(stage)
        stage.remember(CALM)
        yield stage


def set_jobs(stage: Stage) -> None:
    """Set how often daemons do their jobs: what others than the work send would come between its requests."""
    write_settings(stage, heartbeat="2s", refresh="24h", reconcile="24h")


def start(stage: Stage) -> RunningDaemon:
    """Start a daemon, and return when it has started."""
    set_jobs(stage)
    running = RunningDaemon(stage, stage.start_installed("daemon"))
    running.wait_for("daemon_started")
    return running


def is_at_rest(stage: Stage) -> bool:
    """Whether the PAT was replaced, and the old one is proven to be gone."""
    ours = [pat.authorization_id for pat in stage.find_ours()]
    is_replaced = stage.find_latest().tags.get(AUTHORIZATION_TAG) in ours and stage.original_id not in ours
    return is_replaced and len(ours) == 1 and stage.find_open_states() == [] and "pat_revoked" in stage.find_events()


def have_another_finish(stage: Stage) -> RunningDaemon:
    """Start another daemon, and stop it when nothing is left to do."""
    other = start(stage)
    other.wait_until(lambda: is_at_rest(stage))
    assert other.stop() == 0
    return other


def check_thawed(stage: Stage, frozen: RunningDaemon) -> None:
    """Let it go on until it is through with what it had in hand, and has looked for more: it changes nothing."""
    changes, at = stage.count_changes(), datetime.now(UTC)
    frozen.run.thaw()
    stage.faults.close()
    frozen.send(signal.SIGUSR1)
    frozen.wait_until(lambda: any(moment > at for moment in stage.find_work_begun()))
    assert frozen.stop() == 0
    assert stage.count_changes() == changes
    stage.check_consumers()
    stage.run_until_at_rest()
    stage.check_end()


def check_undisturbed(stage: Stage, requests: Sequence[Sent]) -> None:
    """Have a daemon do it all; it sends exactly these requests."""
    alone = start(stage)
    alone.wait_until(lambda: is_at_rest(stage))
    assert alone.stop() == 0
    check_requests(stage, requests)


def freeze_at(stage: Stage, sent: Sent, skip: int, *, effect: bool) -> RunningDaemon:
    """Start a daemon, and freeze it when that request is open."""
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    frozen = start(stage)
    frozen.wait_until(stage.faults.struck.is_set)
    frozen.run.freeze()
    return frozen


@pytest.mark.sample
def test_daemon_sends_exactly_the_requests_at_which_one_is_frozen_when_it_rotates(stage: Stage) -> None:
    check_undisturbed(stage, ROTATION)


@pytest.mark.parametrize(
    ("sent", "skip", "effect"),
    with_sample(list_points(ROTATION), [f"{MINT}-0-after", f"{STORE}-0-before", f"{REVOKE}-0-before"]),
)
def test_frozen_daemon_changes_nothing_when_another_took_over_at_a_request_of_a_rotation(
    stage: Stage, sent: Sent, skip: int, effect: bool
) -> None:
    frozen = freeze_at(stage, sent, skip, effect=effect)
    have_another_finish(stage)
    check_thawed(stage, frozen)


@pytest.mark.sample
def test_daemon_sends_exactly_the_requests_at_which_one_is_frozen_when_it_retires(prepared: Stage) -> None:
    prepared.reset(lease="1h", to=OVERLAPPING)
    check_undisturbed(prepared, RETIREMENT)


@pytest.mark.parametrize(
    ("sent", "skip", "effect"), with_sample(list_points(RETIREMENT), [f"{LIST}-1-before", f"{REVOKE}-0-after"])
)
def test_frozen_daemon_changes_nothing_when_another_took_over_at_a_request_of_a_retirement(
    prepared: Stage, sent: Sent, skip: int, effect: bool
) -> None:
    prepared.reset(lease="1h", to=OVERLAPPING)
    frozen = freeze_at(prepared, sent, skip, effect=effect)
    have_another_finish(prepared)
    check_thawed(prepared, frozen)


def start_forked(stage: Stage, when: str, number: int) -> RunningDaemon:
    """Start a daemon that freezes itself at that commit about the record."""
    set_jobs(stage)
    run = stage.start("daemon", dying=(when, number), table="managed_pat", blow=signal.SIGSTOP)
    return RunningDaemon(stage, run)


@pytest.mark.sample
def test_daemon_makes_exactly_the_commits_at_which_one_is_frozen_when_it_rotates(stage: Stage) -> None:
    alone = start_forked(stage, "never", 0)
    alone.wait_until(lambda: is_at_rest(stage))
    assert alone.stop() == 0
    assert read_commits(alone.run) == RECORD_COMMITS


@pytest.mark.parametrize(
    "number",
    with_sample({f"{number}-{commit}": (number,) for number, commit in enumerate(RECORD_COMMITS)}, ["4-pat_minted"]),
)
def test_frozen_daemon_changes_nothing_when_another_took_over_after_a_commit(stage: Stage, number: int) -> None:
    frozen = start_forked(stage, "after", number)
    frozen.wait_until(lambda: frozen.run.is_frozen)
    have_another_finish(stage)
    check_thawed(stage, frozen)


def test_frozen_daemon_changes_nothing_when_it_held_the_locks_of_a_transaction(stage: Stage) -> None:
    """The server ends its session after some seconds. Until then the others wait, and none of their jobs fails."""
    frozen = start_forked(stage, "before", RECORD_COMMITS.index("pat_minted"))
    frozen.wait_until(lambda: frozen.run.is_frozen)
    other = have_another_finish(stage)
    assert "job_failed" not in other.list_events()
    check_thawed(stage, frozen)


def freeze_command(stage: Stage, sent: Sent, skip: int, *words: str, effect: bool) -> Run:
    """Start a command by hand, whose claims have the lease alone, and freeze it when that request is open."""
    stage.reset(lease="4s")
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    frozen = stage.start_and_hold(*words)
    frozen.freeze()
    return frozen


@pytest.mark.parametrize(
    ("sent", "skip", "effect"), with_sample(list_points(CREATION), [f"{MINT}-0-after", f"{READ}-1-before"])
)
def test_frozen_creation_changes_nothing_when_others_took_over(
    stage: Stage, sent: Sent, skip: int, effect: bool
) -> None:
    """Where nothing was noted yet, there is nothing to take over: then it goes on, and is not in anybody's way."""
    frozen = freeze_command(stage, sent, skip, *CREATE, effect=effect)
    is_noted = "creation_started" in stage.find_events()
    stage.run_until_at_rest()
    changes = stage.count_changes()
    frozen.thaw()
    stage.faults.close()
    code = frozen.wait()
    if is_noted:
        assert (code != 0, stage.count_changes()) == (True, changes), frozen.read()
    finish(stage)


LANDING = {change[1]: change for change in CHANGES}


@pytest.mark.parametrize(("service", "method", "path"), with_sample(LANDING, ["PUT"]))
def test_frozen_run_loses_nothing_when_its_request_lands_and_it_thaws_after_another_took_over(
    stage: Stage, service: str, method: str, path: str
) -> None:
    stage.reset(lease="4s")
    stage.postpone(service, method, path)
    frozen = stage.start_and_hold()
    frozen.freeze()
    stage.run_until_at_rest()
    stage.faults.close()
    frozen.thaw()
    assert frozen.wait() != 0, frozen.read()
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.parametrize(("service", "method", "path"), with_sample(LANDING, []))
def test_frozen_daemon_loses_nothing_when_its_request_lands_and_it_thaws_after_another_took_over(
    stage: Stage, service: str, method: str, path: str
) -> None:
    stage.postpone(service, method, path)
    frozen = start(stage)
    frozen.wait_until(stage.faults.struck.is_set)
    frozen.run.freeze()
    have_another_finish(stage)
    changes = stage.count_changes()
    stage.faults.close()
    frozen.send(signal.SIGTERM)  # so that it ends what it had in hand, and begins nothing new
    frozen.run.thaw()
    assert frozen.run.wait() == 0, frozen.run.read()
    assert stage.count_changes() == changes
    stage.run_until_at_rest()
    stage.check_end()
