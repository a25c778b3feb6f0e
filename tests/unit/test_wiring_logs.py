"""What the wiring logs: events of the catalogue, and nothing else."""

from __future__ import annotations

import io
import json
import os
import pwd
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.adapters.logs import reset_logging
from rotator.wiring.daemon import Daemon
from rotator.wiring.installation import Installation
from rotator.wiring.logs import LogOptions, start_logs
from rotator.wiring.origin import Origin

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOiJ2YXVsdCJ9.c2lnbmF0dXJlLXBhcnQ_-x"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log as machines read it."""
    stream = io.StringIO()
    start_logs(LogOptions(stream, "warning"))
    yield stream
    reset_logging()


def read(log: io.StringIO) -> list[dict[str, object]]:
    """Its lines."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_one_cause_is_logged_once_whatever_settings_it_is_about(log: io.StringIO, tmp_path: Path) -> None:
    with Installation(Origin(None, {}, tmp_path)) as installation:
        for setting in ("notify.url", "notify.secret"):
            installation.warn_once(setting, "everybody can read it", "Run: chmod 600")
    [line] = read(log)
    assert (line["event"], line["setting"], line["level"]) == ("setting_doubted", "notify.url", "warning")
    assert (line["problem"], line["fix"]) == ("everybody can read it", "Run: chmod 600")


def test_thread_that_dies_is_an_event_without_secrets(log: io.StringIO, tmp_path: Path) -> None:
    daemon = Daemon(Origin(None, {}, tmp_path), {})

    def die() -> None:
        raise ValueError(f"cannot read {JWT}")

    threading.excepthook, before = daemon.tell_dead_thread, threading.excepthook
    try:
        thread = threading.Thread(target=die, name="ping")
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before
    [line] = read(log)
    assert (line["event"], line["thread"], line["level"]) == ("thread_died", "ping", "critical")
    assert "ValueError: cannot read ***" in str(line["stack"])
    assert JWT not in log.getvalue()


@pytest.mark.parametrize("said", ["alice", "a\udcff\nb"])  # a byte that is no UTF-8
def test_audit_log_names_the_true_user_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, said)
    with Installation(Origin(None, {}, tmp_path)) as installation:
        assert installation.actor.partition("@")[0] == pwd.getpwuid(os.getuid()).pw_name
