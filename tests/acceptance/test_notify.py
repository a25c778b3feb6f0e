"""Notifications of `rotator once` and of the real daemon, to receivers on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import start_daemon, write_section
from tests.support.killing import Run, Stage
from tests.support.published import load_validator
from tests.support.receiver_server import HOOK_PATH, MAIL_PASSWORD, SIGNING_KEY, MailServer, WebhookServer

KEYS = (HOOK_PATH.rpartition("/")[2], SIGNING_KEY, MAIL_PASSWORD)


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


def notify(stage: Stage, *receivers: dict[str, Any]) -> None:
    """Write `notify:` into the settings."""
    write_section(stage, "notify", list(receivers))


def make_webhook(server: WebhookServer, **more: Any) -> dict[str, Any]:
    return {"name": "ops", "kind": "webhook", "url": server.url, "secret": SIGNING_KEY, **more}


def run(stage: Stage, *words: str, code: int = 0) -> Run:
    """One command that ends with this code; no secret of a receiver is in what it says."""
    made = stage.start(*words)
    assert made.wait() == code, made.read()
    assert not any(key in made.read() for key in KEYS)
    return made


def list_told(server: WebhookServer) -> list[tuple[str, str | None]]:
    return [(document["name"], document["phase"]) for document in server.documents]


def test_run_tells_that_a_sign_in_is_needed_and_when_it_is_over(stage: Stage, server: WebhookServer) -> None:
    """By the end of `rotator once`; the next says nothing new. What was rotated before there was a receiver is past."""
    notify(stage, make_webhook(server, events=["rotation_completed"]))
    run(stage, "once")
    run(stage, "rotate", "ci-build")
    run(stage, "once", "-vv")
    assert list_told(server) == [("rotation_completed", None)]
    run(stage, "logout", "build-bot", "--yes")
    run(stage, "once", code=10)
    run(stage, "once", code=10)
    assert list_told(server)[1:] == [("sign_in_needed", "began")]
    told = server.documents[1]
    assert told["waiting"] == 1
    assert told["command"] == "rotator login build-bot"
    assert told["runbook"] == "docs/runbook.md#sign_in_needed"
    assert server.received[1].headers["webhook-id"] == told["id"]
    assert not any(key in json.dumps(server.documents) for key in KEYS)


def test_run_sends_the_digest_of_the_week_once(stage: Stage, server: WebhookServer) -> None:
    """As its schema says; what the run itself rotated is in it, and the mail about the new PAT is past."""
    notify(stage, make_webhook(server, digest="monday"))
    run(stage, "once")
    run(stage, "once")
    (told,) = server.documents
    assert list(load_validator("notification").iter_errors(told)) == []
    assert (told["type"], told["severity"], told["phase"]) == ("digest", "info", None)
    assert told["title"] == "Digest: 1 rotated, 0 to be rotated within a week, 0 wait for a person"
    assert [found["name"] for found in told["digest"]["rotated"]] == ["ci-build"]
    assert told["digest"]["is_whole"] is True
    notify(stage, make_webhook(server, digest="mondays"))
    assert "notify[0].digest" in run(stage, "config", "check", code=2).read()


def test_receiver_that_is_away_fails_no_run(stage: Stage, server: WebhookServer) -> None:
    """What it was to hear comes when it is back, once; the run's exit code is its own."""
    notify(stage, make_webhook(server, events=["rotation_completed"]))
    run(stage, "once", "--dry-run")
    run(stage, "recover")
    server.answers = [500]
    run(stage, "logout", "build-bot", "--yes")
    failed = run(stage, "once", code=10)
    assert "receiver_failed" in failed.read()
    assert [document["id"] for document in server.documents] == [server.documents[0]["id"]]


def test_test_says_what_came_back(stage: Stage, server: WebhookServer) -> None:
    with MailServer() as mail, mail.running():
        notify(
            stage,
            make_webhook(server),
            {"name": "mail", "kind": "apprise", "url": mail.url},
            {"name": "gone", "kind": "webhook", "url": f"https://127.0.0.1:1{HOOK_PATH}"},
        )
        shown = run(stage, "notify", "test", code=3).read()
        assert "ops: delivered (HTTP 200)" in shown
        assert "mail: delivered (apprise sent it)" in shown
        assert "gone: 127.0.0.1:1 refused the connection" in shown
        assert len(mail.mails) == 1
    made = run(stage, "notify", "test", "ops", "--json")
    (found,) = json.loads(made.output.read_text(encoding="utf-8"))["receivers"]
    assert (found["name"], found["delivered"], found["answer"]) == ("ops", True, "HTTP 200")
    assert run(stage, "notify", "test", "nobody", code=2).read().count("There are: ops, mail, gone.") == 1
    notify(stage)
    run(stage, "notify", "test", code=2)


def test_check_of_the_settings_names_an_address_that_no_plugin_takes(stage: Stage) -> None:
    """With line and column, and without the address; a reference is looked at where it is on this host."""
    (stage.folder / "mail.url").write_text(f"nosuch://{MAIL_PASSWORD}/x", encoding="utf-8")
    (stage.folder / "mail.url").chmod(0o600)
    notify(stage, {"name": "mail", "kind": "apprise", "url": {"file": "mail.url"}})
    shown = run(stage, "config", "check", code=2).read()
    assert "notify[0].url: no plugin of apprise takes the url of mail" in shown
    assert f"{stage.sandbox.addresses.config_path.name}:" in shown


def test_daemon_goes_on_with_a_receiver_that_cannot_be_used_and_another_hears_of_it(
    stage: Stage, server: WebhookServer
) -> None:
    """Of that, of the sign-in, and, after a restart in the middle, of nothing twice."""
    bad = {"name": "mail", "kind": "apprise", "url": f"nosuch://{MAIL_PASSWORD}/x"}
    notify(stage, bad, make_webhook(server, down_after="0s"))
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    (told,) = server.wait_for(1)
    assert (told["name"], told["subjects"]) == ("receiver_failing", ["mail"])
    daemon.wait_for("receiver_failed")
    assert daemon.stop() == 0
    assert not any(key in daemon.run.read() for key in KEYS)
    run(stage, "logout", "build-bot", "--yes")
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    assert [found["name"] for found in server.wait_for(2)] == ["receiver_failing", "sign_in_needed"]
    daemon.run.kill()
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    assert daemon.stop() == 0
    assert len({document["id"] for document in server.documents}) == 2


def test_daemon_that_is_killed_in_the_middle_of_a_delivery_sends_it_again_with_the_same_id(
    stage: Stage, server: WebhookServer
) -> None:
    """The next one tells that it was killed, and the one after that has nothing to tell."""
    notify(stage, make_webhook(server, down_after="0s"))
    run(stage, "once")
    run(stage, "logout", "build-bot", "--yes")
    before = len(server.received)
    server.answers = [-1]
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    server.wait_for(before + 1)
    daemon.run.kill()
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    told = server.wait_for(before + 3)[before:]
    assert daemon.stop() == 0
    assert sorted(document["name"] for document in told) == ["daemon_crashed", "sign_in_needed", "sign_in_needed"]
    assert len({document["id"] for document in told if document["name"] == "sign_in_needed"}) == 1
    daemon = start_daemon(stage, work="1h", refresh="2s", heartbeat="1s")
    daemon.wait_until(lambda: stage.find_job_runs("heartbeat").count("None") == 1)
    assert daemon.stop() == 0
    assert stage.find_events().count("daemon_crashed") == 1
