"""A daemon is killed just before and just after every commit of a delivery, and of a hook's call."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.daemon import write_section, write_settings
from tests.support.killing import NAME, Run, Stage
from tests.support.proving import with_sample
from tests.support.receiver_server import SIGNING_KEY, WebhookServer

pytestmark = pytest.mark.prove

COMMITS = ("claimed", "looked at", "taken", "noted", "found nothing more", "released")
"""What a round with one notification, or with one call of a hook, commits about its receiver."""
CASES = {f"{name}-{when}": (number, when) for number, name in enumerate(COMMITS) for when in ("before", "after")}
PROGRAM = '#!/bin/sh\necho "$ROTATOR_HOOK_ID" >> calls\n'


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    (prepared.folder / "calls").unlink(missing_ok=True)
    yield prepared
    prepared.end()


def run(stage: Stage, *words: str, code: int = 0) -> Run:
    """One command that ends with this code."""
    made = stage.start(*words)
    assert made.wait() == code, made.read()
    return made


def start_and_die(stage: Stage, number: int, when: str) -> None:
    """A daemon that kills itself at this commit about a receiver."""
    write_settings(stage, work="1h", refresh="1h", heartbeat="1s")
    made = stage.start("daemon", dying=(when, number), table="receiver")
    assert made.wait() == -signal.SIGKILL, made.read()


@pytest.mark.parametrize(("number", "when"), with_sample(CASES, ("noted-before",)))
def test_notification_comes_with_one_id_whatever_commit_the_daemon_is_killed_at(
    stage: Stage, number: int, when: str
) -> None:
    """It comes twice only if the daemon died between the answer and the commit that notes it."""
    run(stage, "logout", "build-bot", "--yes")
    run(stage, "once", code=10)
    server = WebhookServer(stage.folder / "server.pem")
    with server.running():
        write_section(stage, "notify", [{"name": "ops", "kind": "webhook", "url": server.url, "secret": SIGNING_KEY}])
        start_and_die(stage, number, when)
        run(stage, "once", code=10)
        run(stage, "once", code=10)
        ids = [told["id"] for told in server.documents if told["name"] == "sign_in_needed"]
    assert len(ids) == (2 if (COMMITS[number], when) == ("noted", "before") else 1)
    assert len(set(ids)) == 1
    assert stage.find_events().count("notification_delivered") == 1


@pytest.mark.parametrize(("number", "when"), with_sample(CASES, ()))
def test_hook_is_called_with_one_id_whatever_commit_the_daemon_is_killed_at(
    stage: Stage, number: int, when: str
) -> None:
    """It is called twice only if the daemon died between its end and the commit that notes it."""
    program = stage.folder / "restart"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    write_section(stage, "hooks", [{"name": "restart", "on": ["pat_paused"], "command": ["./restart"]}])
    run(stage, "once")  # from now on the hook hears of what happens
    run(stage, "inventory", "pause", NAME)
    start_and_die(stage, number, when)
    run(stage, "once")
    run(stage, "once")
    ids = (stage.folder / "calls").read_text(encoding="utf-8").split()
    assert len(ids) == (2 if (COMMITS[number], when) == ("noted", "before") else 1)
    assert len(set(ids)) == 1
    assert stage.find_events().count("hook_succeeded") == 1
