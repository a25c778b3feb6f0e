"""The server of running daemons dies, and a standby takes its place that lost their latest commits.

One of the daemons is in the middle of a rotation then: its request takes effect once the standby is the primary server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.test_frozen_replicas import is_at_rest, set_jobs
from tests.support.by_hand import list_records, settle
from tests.support.daemon import RunningDaemon
from tests.support.killing import CHANGES, NAME, Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600)]


class BothServers:
    """A stage's database, reached on the server or, when that is gone, on its standby."""

    def __init__(self, url: str) -> None:
        place = make_url(url)
        room = place.query["host"]
        self._url = f"postgresql+psycopg://postgres@/{place.database}?host={room}:5432&host={room}:5433"

    def url(self) -> str:
        """See StageDatabase."""
        return self._url

    def keep(self, name: str = "") -> None:
        """See StageDatabase. Each test has servers of its own."""

    def restore(self, name: str = "") -> None:
        """See StageDatabase. Each test has servers of its own."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test alone."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def stage(tmp_path: Path, server: PostgresServer) -> Iterator[Stage]:
    """A stage whose settings name both servers."""
    with open_stage(tmp_path, server) as stage:
        stage.database = BothServers(stage.database.url())
        stage.reset()
        for words in (("inventory", "pause", NAME), ("once",), ("inventory", "resume", NAME)):  # it knows its server
            run = stage.start(*words)
            assert run.wait() == 0, run.read()
        set_jobs(stage)
        yield stage


CASES = {
    f"{change[1]}-{'intent kept' if keeps else 'all lost'}": (*change, keeps)
    for change in CHANGES
    for keeps in (False, True)
}


@pytest.mark.parametrize(
    ("service", "method", "path", "keeps"), with_sample(CASES, ["POST-all lost", "PUT-intent kept"])
)
def test_daemons_lose_nothing_when_a_standby_is_promoted_that_lost_their_commits(
    stage: Stage, server: PostgresServer, service: str, method: str, path: str, *, keeps: bool
) -> None:
    """It has what was committed before the request, or nothing of the rotation at all."""
    port = 0 if keeps else server.start_standby()
    stage.postpone(service, method, path)
    daemons = [RunningDaemon(stage, stage.start_installed("daemon")) for _ in range(3)]
    daemons[0].wait_until(stage.faults.struck.is_set)
    port = port or server.start_standby()
    server.kill()
    server.promote(port)
    stage.faults.close()
    daemons[0].wait_until(lambda: "timeline_changed" in stage.find_events() or is_at_rest(stage), patience=120)
    for daemon in daemons:
        daemon.wait_for("daemon_started")
        assert daemon.stop() == 0, daemon.run.read()
    stage.check_consumers()
    settle(stage)
    assert "timeline_changed" in stage.find_events()
    rebuilt = stage.start("inventory", "rebuild", "--yes")
    assert rebuilt.wait() == 0, rebuilt.read()
    settle(stage)
    stage.check_owners()
    record, value = list_records(stage)[NAME], stage.find_latest().value
    with stage.world.lock:
        current = stage.world.pats[record["authorization_id"]]
    assert (current.value, current.revoked) == (value, False)
    again = stage.start("rotate", NAME)
    assert again.wait() == 0, again.read()
    settle(stage)
    stage.check_owners()
