"""What the audit log says of who did what: commands as they were typed, starts, stops and settings."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.audit_event import AuditEvent
from rotator.ports.audit_log import AuditFilter
from tests.support.daemon import start_daemon, write_section
from tests.support.killing import NAME, SECRET, Stage


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


def load(stage: Stage, *names: str) -> list[AuditEvent]:
    """The events of these names, in order."""
    database = SqlDatabase(stage.database.url())
    with database.read() as reading:
        found = [event for name in names for event in reading.audit.load_newest(99, AuditFilter(event=name))]
    database.close()
    return sorted(found, key=lambda event: event.sequence)


def call(stage: Stage, *words: str, **environment: str) -> None:
    """Give a command, which must do what it says."""
    run = stage.start(*words, environment=environment)
    assert run.wait() == 0, run.read()


def test_command_is_logged_as_a_person_typed_it_and_by_which_way_they_came(stage: Stage) -> None:
    call(
        *(stage, "-v", "inventory", "pause", NAME, "--reason", "release week"),
        SUDO_USER="alice",
        SSH_CONNECTION="192.0.2.7 50000 192.0.2.8 22",
        SSH_CLIENT="",
    )
    [event] = load(stage, "pat_paused")
    details = event.entry.details
    assert details["command"] == f"rotator -v inventory pause {NAME} --reason 'release week'"
    assert (details["via"], details["reason"]) == ("sudo by alice, ssh from 192.0.2.7", "release week")
    call(stage, "inventory", "resume", NAME, SUDO_USER="", SSH_CONNECTION="")
    [event] = load(stage, "pat_resumed")
    assert (event.entry.details["command"], "via" in event.entry.details) == (f"rotator inventory resume {NAME}", False)


def test_no_secret_and_no_novel_is_logged_with_a_command(stage: Stage) -> None:
    secret = "eyJ" + "hbGciOiJub25l" * 3 + ".e30" + "x" * 40 + ".c2ln" + "y" * 40
    call(stage, "inventory", "pause", NAME, "--reason", f"{secret} {'z' * 2000}")
    [event] = load(stage, "pat_paused")
    command = str(event.entry.details["command"])
    assert secret not in str(event.entry.details)
    assert command.startswith(f"rotator inventory pause {NAME} --reason ")
    assert len(command) < 1100


def test_run_of_a_timer_names_no_command(stage: Stage) -> None:
    call(stage, "once")
    events = load(stage, "mint_started", "rotation_completed")
    assert events
    assert not any({"command", "via"} & event.entry.details.keys() for event in events)


def test_start_stop_and_reload_of_a_daemon_are_logged_and_its_settings_when_they_change(stage: Stage) -> None:
    call(stage, "once")
    before = len(load(stage, "settings_changed"))
    daemon = start_daemon(stage, heartbeat="1s")
    daemon.wait_until(lambda: len(load(stage, "settings_changed")) == before + 1)
    write_section(stage, "daemon", {"heartbeat": "1s", "work": "2m"})
    daemon.send(signal.SIGHUP)
    daemon.wait_until(lambda: len(load(stage, "settings_changed")) == before + 2)
    daemon.wait_until(lambda: bool(load(stage, "daemon_reloaded")))
    write_section(stage, "daemon", {"heartbeat": "never"})
    daemon.send(signal.SIGHUP)
    daemon.wait_until(lambda: bool(load(stage, "reload_refused")))
    assert daemon.stop() == 0
    names = [event.entry.event for event in load(stage, "daemon_started", "daemon_reloaded", "daemon_stopped")]
    assert names == ["daemon_started", "daemon_reloaded", "daemon_stopped"]
    [*_, first, second] = load(stage, "settings_changed")
    assert second.entry.details["previous"] == first.entry.details["sha256"]
    assert len(str(second.entry.details["sha256"])) == 64


def test_command_that_was_refused_is_logged_with_who_gave_it_and_the_answer(stage: Stage) -> None:
    words = ("inventory", "pause", "no-such", "--reason", "release week")
    run = stage.start(*words, environment={"SUDO_USER": "alice"})
    assert run.wait() == 2, run.read()
    [event] = load(stage, "command_refused")
    details = event.entry.details
    assert (event.entry.subject, details["code"], details["reason"]) == (
        "inventory pause",
        "unknown_name",
        "release week",
    )
    assert (details["command"], details["via"]) == (f"rotator {' '.join(words[:4])} 'release week'", "sudo by alice")
    assert str(details["message"]) in run.read()
    assert stage.start("inventory", "pause", NAME, "other", "--json").wait() == 3
    [_, event] = load(stage, "command_refused")
    assert (event.entry.subject, event.entry.details["managed_pat"]) == ("inventory pause", "other")


def test_what_only_looks_leaves_nothing_when_it_is_refused(stage: Stage) -> None:
    for words in (("inventory", "show", "no-such"), ("rotate", "no-such", "--dry-run"), ("once", "--no-such")):
        assert stage.start(*words).wait() == 2
    assert load(stage, "command_refused") == []


def list_read(stage: Stage) -> set[str]:
    """The secrets whose values the vault gave, by its own record of requests; with the version that was asked for."""
    asked = [
        entry.path.removeprefix("/secrets/")
        for entry in stage.world.record.all("key_vault", "GET")
        if entry.path.startswith("/secrets/") and entry.status == 200 and "/versions" not in entry.path
    ]
    return {path.rstrip("/") for path in asked if path.strip("/") and not path.startswith("rotator-audit-")}


DRY_RUN = ("inventory", "adopt", "ID", "--replace-foreign", "--dry-run")


@pytest.mark.parametrize("words", [("once",), ("doctor",), DRY_RUN], ids=" ".join)
def test_each_value_that_was_read_is_named_with_who_read_it(stage: Stage, words: tuple[str, ...]) -> None:
    """What the vault has given is what the log names: also what a command read that changes nothing."""
    words = tuple(stage.original_id if word == "ID" else word for word in words)
    before = load(stage, "values_read")
    stage.world.record.clear()
    assert stage.start(*words).wait() in (0, 1, 2, 4)
    read = list_read(stage)
    assert {path.partition("/")[0] for path in read} == {SECRET}
    [event] = load(stage, "values_read")[len(before) :]
    assert f"{SECRET} of {NAME}: " in str(event.entry.details["reads"])
    assert event.entry.subject == stage.sandbox.addresses.key_vault_url
    assert event.entry.details.get("command") == (None if words == ("once",) else f"rotator {' '.join(words)}")
    named = set(str(event.entry.details["reads"]).split(": ")[1].split())
    assert {path.partition("/")[2] for path in read} - {""} <= named
