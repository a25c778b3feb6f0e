"""A PAT that somebody revokes before its time: people are told, and with `on_leak: rotate` it is replaced at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.support.daemon import set_overlap, start_daemon, write_section
from tests.support.killing import NAME, SECRET, Stage
from tests.support.receiver_server import WebhookServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a value that rotator wrote, not due for long, and an overlap that outlasts the test."""
    prepared.reset(lease="1h")
    first = prepared.start("once")
    assert first.wait() == 0, first.read()
    set_overlap(prepared, "12h")
    yield prepared
    prepared.end()


def replace_leaks(stage: Stage) -> None:
    """Say so in `defaults`."""
    path = stage.sandbox.addresses.policy_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["defaults"]["on_leak"] = "rotate"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def revoke(stage: Stage) -> None:
    """Microsoft found it in public."""
    with stage.world.lock:
        [current] = [pat for pat in stage.world.pats.values() if pat.value == stage.find_latest().value]
        current.revoked = True


def test_run_replaces_what_vanished_at_once_when_the_policy_says_so(stage: Stage) -> None:
    replace_leaks(stage)
    revoke(stage)
    run = stage.start("once")
    assert run.wait() == 0, run.read()
    assert f"rotated  {NAME}" in run.output.read_text()
    assert "may have leaked, so there is no overlap" in run.output.read_text()
    assert stage.find_open_states() == []
    assert [name for name in stage.find_events() if "vanished" in name] == ["pat_vanished", "vanished_pat_replaced"]
    stage.check_consumers()
    stage.check_end()


def test_run_tells_what_vanished_and_changes_nothing_when_nothing_is_said(stage: Stage) -> None:
    revoke(stage)
    before = len(stage.world.pats)
    run = stage.start("once")
    assert run.wait() == 1, run.read()
    said = run.errors.read_text().splitlines()
    assert [line.split()[:2] for line in said] == [["blocked", NAME], ["fix:", "If"]]
    assert len(stage.world.pats) == before
    shown = stage.start("status", "--check", "--json")
    assert shown.wait() == 4
    [pat] = [pat for pat in json.loads(shown.output.read_text())["pats"] if pat["secret_name"] == SECRET]
    assert (pat["state"], pat["last_error"]["code"]) == ("blocked", "revoked_elsewhere")


def test_daemon_replaces_it_and_tells_people(stage: Stage) -> None:
    replace_leaks(stage)
    server = WebhookServer(stage.folder / "server.pem")
    write_section(stage, "notify", [{"name": "ops", "kind": "webhook", "url": server.url}])
    with server.running():
        assert stage.start("once").wait() == 0, "from now on the receiver is known: a new one hears nothing of the past"
        daemon = start_daemon(stage, work="1s", heartbeat="1s", reconcile="1s")
        daemon.wait_until(lambda: stage.find_job_runs("reconcile").count("succeeded") > 0)
        revoke(stage)
        daemon.wait_until(lambda: "vanished_pat_replaced" in stage.find_events())
        document = server.wait_for(1)[-1]
        assert daemon.stop() == 0
    assert "was revoked outside rotator" in document["title"]
    assert document["runbook"].startswith("docs/runbook.md#")
    assert document["command"]
    stage.check_consumers()
    stage.check_end()
