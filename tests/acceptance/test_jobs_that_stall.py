"""A job of the real daemon that fails for ever: everybody who looks, or is told, hears of it, until it succeeds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.job_run import JobName, JobOutcome, JobRun
from rotator.domain.managed_pat import Failure
from rotator.errors import RotatorError
from tests.support.daemon import start_daemon, write_section
from tests.support.killing import Stage
from tests.support.pages import Pages
from tests.support.receiver_server import WebhookServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


@pytest.fixture
def server(stage: Stage) -> Iterator[WebhookServer]:
    """A receiver whose certificate the sandbox's authority signed."""
    made = WebhookServer(stage.folder / "server.pem")
    with made.running():
        yield made


def change(stage: Stage, *statements: str) -> None:
    """Change the database behind the back of whoever works on it."""
    with closing(sqlite3.connect(stage.folder / "rotator.db", timeout=30)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def note_failed(stage: Stage, job: JobName, *minutes_ago: int) -> None:
    """Runs of a job that failed so long ago, as an earlier daemon left them."""
    failure, now = Failure.of(RotatorError("a bug", code="internal")), datetime.now(UTC)
    database = SqlDatabase(f"sqlite:///{stage.folder}/rotator.db")
    for ago in minutes_ago:
        at = now - timedelta(minutes=ago)
        with database.begin() as work:
            work.job_runs.end(JobRun(job, at, "daemon-0", at, at, JobOutcome.FAILED, failure=failure))
    database.close()


def check(stage: Stage) -> tuple[int, str]:
    """What `status --check` ends with, and says."""
    run = stage.start("status", "--check")
    return run.wait(), run.read()


def test_job_that_fails_for_ever_is_told_to_everybody_until_it_succeeds(stage: Stage, server: WebhookServer) -> None:
    """`status` and its check, the log, and a receiver: when it begins, and when it is over."""
    write_section(stage, "notify", [{"name": "ops", "kind": "webhook", "url": server.url}])
    write_section(stage, "hooks", [{"name": "restart", "on": ["secret_stored"], "command": ["true"]}])
    note_failed(stage, JobName.HOOKS, 40, 30, 20)
    change(stage, "ALTER TABLE hook_call RENAME TO mislaid")
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("job_stalled")
    daemon.wait_until(lambda: len(server.documents) > 0)
    code, said = check(stage)
    assert (code, "check: job hooks no longer succeeds" in said) == (4, True), said
    assert "the job hooks no longer succeeds (since " in said
    [told] = server.documents
    assert (told["name"], told["phase"], told["subjects"]) == ("job_stalled", "began", ["hooks"])
    assert told["runbook"] == "docs/runbook.md#job_stalled"
    change(stage, "ALTER TABLE mislaid RENAME TO hook_call")
    daemon.wait_for("job_resumed")
    daemon.wait_until(lambda: len(server.documents) > 1)
    assert [document["phase"] for document in server.documents] == ["began", "over"]
    assert daemon.stop() == 0
    code, said = check(stage)
    assert (code, "hooks" in said) == (0, False), said
    assert {"job_stalled", "job_resumed"} <= set(stage.find_events())


def test_daemon_is_not_ready_while_a_bug_keeps_it_from_measuring(stage: Stage) -> None:
    """It is alive, and its work goes on; but nobody knows whether it is ready."""
    pages = Pages()
    write_section(stage, "listen", pages.address)
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("pat_revoked")
    daemon.wait_until(lambda: pages.scrape().get(("rotator_api_requests_total", "succeeded", "azure_devops"), 0) > 0)
    daemon.wait_until(lambda: pages.get("/readyz") == (200, "ready\n"))

    def break_and_look() -> bool:
        change(stage, "UPDATE request_count SET requests = 'many'")  # anew: a job that counts makes a number of it
        return pages.get("/readyz")[0] == 503

    daemon.wait_until(break_and_look)
    assert pages.get("/readyz")[1].startswith("nothing can be measured: a bug in rotator, ValueError at ")
    assert pages.get("/healthz") == (200, "ok\n")
    change(stage, "UPDATE request_count SET requests = 7")
    daemon.wait_until(lambda: pages.get("/readyz") == (200, "ready\n"))
    assert daemon.stop() == 0
