"""Three daemons share one PostgreSQL through PgBouncer, in both of its modes; one of them dies, or is frozen.

It dies between the POST and the COMMIT that notes the new PAT: with its request open, or inside that transaction. The
pooler then has a session with an open transaction of somebody who is gone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.test_frozen_replicas import CALM, check_thawed, is_at_rest, open_calm_stage, set_jobs
from tests.support.daemon import RunningDaemon, reach_database
from tests.support.killing import CHANGES, RECORD_COMMITS, Stage
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

SESSIONS = {"transaction": 4, "session": 40}
"""So many does the pooler have: fewer than the daemons' connections where it may share them, else enough for all."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage for all tests."""
    with open_calm_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage. A claim outlasts the test: what others go by is the end of the process, or the heartbeat."""
    prepared.reset(lease="1h", to=CALM)
    set_jobs(prepared)
    return prepared


@contextmanager
def pooling(stage: Stage, server: PostgresServer, mode: str) -> Iterator[dict[str, str]]:
    """A pooler before the stage's database; the environment of those that go through it."""
    pooler = PgBouncer(server, SESSIONS[mode], mode)
    try:
        yield reach_database(stage, pooler.url(make_url(stage.database.url()).database or ""))
        stage.end()
    finally:
        pooler.stop()


def start(stage: Stage, environment: dict[str, str], count: int) -> list[RunningDaemon]:
    """Start so many daemons behind the pooler."""
    return [RunningDaemon(stage, stage.start_installed("daemon", environment=environment)) for _ in range(count)]


def have_others_finish(stage: Stage, others: list[RunningDaemon]) -> None:
    """Return when nothing is left to do and the others, who live, have stopped."""
    for other in others:
        other.wait_for("daemon_started")
    others[0].wait_until(lambda: is_at_rest(stage))
    for other in others:
        assert other.stop() == 0, other.run.read()


def check_rest(stage: Stage) -> None:
    """No PAT is lost, and none is left over."""
    stage.check_consumers()
    assert stage.run_until_at_rest() == 1
    stage.check_end()


WAYS = {
    f"{mode}-{'effect' if effect else 'before'}": (mode, effect) for mode, effect in product(SESSIONS, (True, False))
}


@pytest.mark.parametrize(("mode", "effect"), with_sample(WAYS, ["transaction-effect"]))
def test_others_go_on_behind_a_pooler_when_one_of_three_is_killed_at_its_mint(
    stage: Stage, postgres_server: PostgresServer, mode: str, *, effect: bool
) -> None:
    stage.hold(*CHANGES[0], effect=effect)
    with pooling(stage, postgres_server, mode) as environment:
        daemons = start(stage, environment, 3)
        daemons[0].wait_until(stage.faults.struck.is_set)
        dead = next(daemon for daemon in daemons if holds_claim(stage, daemon))
        dead.run.kill()
        stage.faults.close()
        have_others_finish(stage, [daemon for daemon in daemons if daemon is not dead])
    check_rest(stage)


def holds_claim(stage: Stage, daemon: RunningDaemon) -> bool:
    """Whether it is this one that is at work, by what the claim says of its process."""
    [claimant] = stage.find_claims()
    return claimant.rsplit("#", 1)[1].startswith(f"{daemon.run.process.pid}.")


@pytest.mark.parametrize("mode", with_sample({mode: (mode,) for mode in SESSIONS}, ["transaction"]))
def test_others_go_on_behind_a_pooler_when_one_of_three_is_killed_inside_the_transaction_after_its_mint(
    stage: Stage, postgres_server: PostgresServer, mode: str
) -> None:
    """The pooler must give the session, and the locks of that transaction, to nobody before they are ended."""
    stage.postpone(*CHANGES[0])
    with pooling(stage, postgres_server, mode) as environment:
        number = RECORD_COMMITS.index("pat_minted")
        run = stage.start("daemon", dying=("before", number), table="managed_pat", environment=environment)
        dying = RunningDaemon(stage, run)
        dying.wait_until(stage.faults.struck.is_set)
        others = start(stage, environment, 2)
        for other in others:
            other.wait_for("daemon_started")
        stage.faults.close()
        assert dying.run.wait() == -signal.SIGKILL, dying.run.read()
        have_others_finish(stage, others)
    check_rest(stage)


@pytest.mark.parametrize("mode", with_sample({mode: (mode,) for mode in SESSIONS}, []))
def test_frozen_daemon_changes_nothing_behind_a_pooler_when_others_took_over_at_its_mint(
    stage: Stage, postgres_server: PostgresServer, mode: str
) -> None:
    stage.hold(*CHANGES[0], effect=True)
    with pooling(stage, postgres_server, mode) as environment:
        [frozen] = start(stage, environment, 1)
        frozen.wait_until(stage.faults.struck.is_set)
        frozen.run.freeze()
        have_others_finish(stage, start(stage, environment, 2))
        check_thawed(stage, frozen)
