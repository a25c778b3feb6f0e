"""What Azure DevOps asked one daemon to wait, all of them wait: by the sandbox's record of requests alone.

The oracle knows when each request came, whose token it had, and which one was answered 429 with `Retry-After`. It
shares no code with what holds requests back, and reads no database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.seeds import OTHER_USERNAME
from tests.support.daemon import RunningDaemon, write_settings
from tests.support.killing import Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600)]

HOLD = timedelta(seconds=20)
ON_THE_WAY = timedelta(seconds=5)
"""What another one sends so soon was on its way: each looks once a second, and a machine may be busy."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: two accounts, signed in."""
    with open_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        stage.add_account("other-bot", OTHER_USERNAME)
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage; each daemon looks everywhere whenever nobody else did in the last second."""
    prepared.reset()
    write_settings(prepared, heartbeat="5s", work="1s", reconcile="1s", refresh="24h")
    return prepared


FOR_EVER = datetime.max.replace(tzinfo=UTC)


class Oracle:
    """What the record of the sandbox says of the users' requests."""

    def __init__(self, stage: Stage) -> None:
        self._world = stage.world

    def list_held(self) -> list[RecordedRequest]:
        """The requests whose answers asked their user to wait."""
        return [entry for entry in self._list() if entry.fault == "rate_limited" and entry.status == 429]

    def list_sent(self, user: str, begin: datetime, end: datetime = FOR_EVER) -> list[RecordedRequest]:
        """What came of a user between two moments."""
        return [entry for entry in self._list() if begin < entry.time < end and user == self.find_user(entry)]

    def find_user(self, entry: RecordedRequest) -> str:
        """Whose token a request had."""
        _, _, token = entry.headers["authorization"].partition(" ")
        return self._world.access_tokens[token].subject_id

    def _list(self) -> list[RecordedRequest]:
        return [entry for entry in self._world.record.all("azure_devops") if entry.auth == "Bearer"]


@pytest.mark.parametrize("times", with_sample({"once": (1,), "again and again": (5,)}, ["once"]))
def test_no_daemon_sends_a_request_of_an_account_before_its_hold_ends(stage: Stage, times: int) -> None:
    """Neither for PATs nor for the service's own audit log. Afterwards they go on."""
    oracle = Oracle(stage)
    daemons = [RunningDaemon(stage, stage.start_installed("daemon")) for _ in range(3)]
    for daemon in daemons:
        daemon.wait_for("daemon_started")
    for number in range(1, times + 1):
        hold_once(stage, daemons[0], oracle, number)
    for daemon in daemons:
        assert daemon.stop() == 0, daemon.run.read()


def hold_once(stage: Stage, daemon: RunningDaemon, oracle: Oracle, number: int) -> None:
    """Have the next request answered 429, and see who sends what until its user sends again."""
    stage.faults.add(Fault("azure_devops", "rate_limited", path="/tokens/pats", seconds=HOLD.total_seconds()))
    daemon.wait_until(lambda: len(oracle.list_held()) == number)
    held = oracle.list_held()[-1]
    user, end = oracle.find_user(held), held.time + HOLD
    daemon.wait_until(lambda: oracle.list_sent(user, end) != [], patience=120)
    early = oracle.list_sent(user, held.time + ON_THE_WAY, end)
    assert [(entry.method, entry.path, entry.time - held.time) for entry in early] == []
