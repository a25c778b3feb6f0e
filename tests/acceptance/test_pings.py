"""Pings of `rotator once` and of the real daemon to a check on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from rotator.sandbox.faults import Fault
from tests.support.check_server import KEY, CheckServer
from tests.support.daemon import start_daemon, write_section
from tests.support.killing import Run, Stage


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


@pytest.fixture
def check(stage: Stage) -> Iterator[CheckServer]:
    """A check whose certificate the sandbox's authority signed."""
    made = CheckServer(stage.folder / "server.pem")
    with made.running():
        yield made


def ping(stage: Stage, *pings: dict[str, Any]) -> None:
    """Write `pings:` into the settings."""
    write_section(stage, "pings", list(pings))


def run_once(stage: Stage, code: int) -> Run:
    """One `rotator once` that ends with this code; the key of the check is nowhere in what it says."""
    run = stage.start("once", "-vv")
    assert run.wait() == code, run.read()
    assert KEY not in run.read()
    return run


def test_check_hears_of_a_run_what_its_exit_code_says(stage: Stage, check: CheckServer) -> None:
    """With the id that the audit log has; then of one that needs a sign-in."""
    ping(stage, {"url": check.url})
    run_once(stage, 0)
    assert check.pings == ["/start", ""]
    audited = stage.start("audit", "list", "--json")
    assert audited.wait() == 0
    assert uuid.UUID(check.run_ids[0]).hex in audited.output.read_text(encoding="utf-8")
    out = stage.start("logout", "build-bot", "--yes")
    assert out.wait() == 0, out.read()
    run_once(stage, 10)
    assert check.pings[2:] == ["/start", "/10"]
    assert check.run_ids[2] == check.run_ids[3] != check.run_ids[0]


def test_dry_run_and_other_commands_are_no_run(stage: Stage, check: CheckServer) -> None:
    ping(stage, {"url": check.url})
    for words in (("once", "--dry-run"), ("status",), ("plan",)):
        run = stage.start(*words)
        assert run.wait() == 0, run.read()
    assert check.pings == []


def test_check_that_is_away_fails_no_run(stage: Stage, check: CheckServer) -> None:
    """It is told once, and the address is not in it."""
    ping(stage, {"url": f"https://127.0.0.1:1{KEY}"}, {"url": check.url})
    run = run_once(stage, 0)
    assert run.read().count("ping_failed") == 1
    assert check.pings == ["/start", ""]
    assert "rotation_planned" in stage.find_events()


def test_address_that_is_missing_is_told_before_anything_is_done(stage: Stage) -> None:
    ping(stage, {"url": {"file": "gone.url"}})
    before = stage.find_events()
    for words in (("once",), ("daemon",)):
        run = stage.start(*words)
        assert run.wait() == 2
        assert "pings.url" in run.read()
    assert stage.find_events() == before


def test_daemon_pings_each_check_about_its_jobs(stage: Stage, check: CheckServer) -> None:
    """One hears of the looks, another of the audit log; what the first cannot do is told with the code of a command."""
    other = CheckServer(stage.folder / "server.pem")
    (stage.folder / "ping.url").write_text(other.url, encoding="utf-8")
    (stage.folder / "ping.url").chmod(0o600)
    with other.running():
        ping(
            stage,
            {"url": check.url, "jobs": ["reconcile"]},
            {"url": {"file": "ping.url"}, "jobs": ["verify_audit"]},
        )
        daemon = start_daemon(stage, work="1h", reconcile="2s", heartbeat="1s")
        assert check.wait_for(2)[:2] == ["/start", ""]
        assert other.wait_for(2) == ["/start", ""]
        stage.world.faults.add(Fault("azure_devops", "status", status=503, times=None))
        daemon.wait_until(lambda: "/1" in check.pings)
        assert daemon.stop() == 0
    assert KEY not in daemon.run.read()
    assert check.run_ids[check.pings.index("/1")] != check.run_ids[0] == check.run_ids[1]
