"""A PostgreSQL server is stopped between the plan of a rotation and its mint, and started again: the daemon lives on.

The lease outlasts the test: what the daemon's work had claimed is given back by the daemon itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import RunningDaemon, start_daemon
from tests.support.killing import Stage, open_stage
from tests.support.phases import PHASES
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of these tests alone."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: signed in, with one PAT adopted."""
    with open_stage(tmp_path_factory.mktemp("stage"), server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


def has_failed(daemon: RunningDaemon, job: str) -> bool:
    """Whether a job has failed: all that it would still have tried is over."""
    return any(line["event"] == "job_failed" and line["job"] == job for line in daemon.read_log())


def test_daemon_goes_on_at_once_when_its_server_was_restarted_between_plan_and_mint(
    stage: Stage, server: PostgresServer
) -> None:
    request, skip, states, _ = PHASES["preflight"]
    stage.postpone(*request, skip)
    daemon = start_daemon(stage, work="2s", heartbeat="2s")
    daemon.wait_until(stage.faults.struck.is_set)
    assert stage.find_open_states() == states
    server.halt()
    try:
        stage.faults.close()
        daemon.wait_until(lambda: has_failed(daemon, "work"))
    finally:
        server.resume()
    daemon.wait_for("pat_revoked")
    assert daemon.stop() == 0
    assert stage.find_claims() == []
    stage.check_end()
