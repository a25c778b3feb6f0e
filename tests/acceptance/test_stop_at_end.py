"""The end of `rotator once` belongs to the run: a stop there is the same stop, and after it nobody outside is told."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator

import pytest

from rotator.sandbox.faults import Fault
from tests.acceptance.test_stop import ENDS, start_and_stop
from tests.support.check_server import CheckServer
from tests.support.daemon import write_section
from tests.support.killing import Stage
from tests.support.receiver_server import SIGNING_KEY, WebhookServer

pytestmark = pytest.mark.prove


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    return prepared


@pytest.fixture
def receiver(stage: Stage) -> Iterator[WebhookServer]:
    """Two receivers of notifications at one address."""
    made = WebhookServer(stage.folder / "server.pem")
    names = ("ops", "another")
    with made.running():
        notify = [{"name": name, "kind": "webhook", "url": made.url, "secret": SIGNING_KEY} for name in names]
        write_section(stage, "notify", notify)
        yield made


def load_receivers(stage: Stage) -> list[tuple[str, str | None]]:
    """Each receiver that is known, and who delivers to it."""
    database = sqlite3.connect(stage.folder / "rotator.db")
    try:
        return database.execute("SELECT name, claimed_by FROM receiver ORDER BY name").fetchall()
    finally:
        database.close()


@pytest.mark.sample
def test_nobody_outside_is_told_when_a_run_was_stopped(stage: Stage, receiver: WebhookServer) -> None:
    """No success, for it was none; no figures, for nothing was measured; no notification."""
    check, metrics = CheckServer(stage.folder / "server.pem"), stage.folder / "metrics.prom"
    with check.running():
        write_section(stage, "pings", [{"url": check.url}])
        write_section(stage, "metrics_textfile", str(metrics))
        request = ("azure_devops", "GET", "/connectionData")
        run = start_and_stop(stage, "once", request=request, number=signal.SIGTERM)
        stage.faults.close()
        assert run.wait() == 0, run.read()
        assert (check.pings, metrics.exists(), receiver.received) == (["/start"], False, [])
        assert stage.find_job_runs("work") == ["stopped"]
        assert stage.start("once").wait() == 0
        assert (check.pings, metrics.exists()) == (["/start", "/start", ""], True)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGHUP, marks=pytest.mark.sample), signal.SIGTERM, signal.SIGINT]
)
def test_run_that_is_over_counts_when_its_deliveries_are_stopped(
    stage: Stage, receiver: WebhookServer, number: signal.Signals
) -> None:
    """Nothing more is delivered, the claim is given back, and the next run delivers the rest."""
    write_section(stage, "http", {"ca_bundle": "ca.pem", "total_timeout": "5s"})
    stage.faults.add(Fault("azure_devops", "status", method="POST", path="/tokens/pats", status=403, times=None))
    receiver.answers = [-1]
    run = stage.start_installed("once")
    receiver.wait_for(1)
    run.process.send_signal(number)
    assert run.wait() == {**ENDS, signal.SIGTERM: 1, signal.SIGHUP: 1}[number], run.read()
    assert (len(receiver.received), stage.find_job_runs("work")) == (1, ["succeeded"])
    assert [claimed_by for _, claimed_by in load_receivers(stage)] == [None] * len(load_receivers(stage))
    assert "Traceback" not in run.read()
    again = stage.start("once")
    again.wait()
    assert len(receiver.received) > 1, again.read()
