"""`rotator audit` as people use it: which events, in which words, as they are written, and into which file."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.audit_event import Outcome
from rotator.sandbox.running import Sandbox
from tests.support.installed_command import COMMAND, PATIENCE, Rotator, config_of
from tests.support.published import check_printed
from tests.support.records import make_entry
from tests.support.syslog_receiver import SyslogReceiver

DAY = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def database(sandbox: Sandbox, rotator: Rotator) -> SqlDatabase:
    """The database of the settings, with two events of two days."""
    assert rotator("db", "upgrade").returncode == 0
    opened = SqlDatabase(f"sqlite:///{sandbox.addresses.config_path.with_name('rotator.db')}")
    failed = replace(make_entry("rotation_failed"), outcome=Outcome.FAILED, details={"message": "the vault refused"})
    with opened.begin() as work:
        work.audit.append(failed, DAY)
        work.audit.append(replace(make_entry("pat_minted"), details={"authorization_id": "id-2"}), DAY.replace(day=3))
    return opened


def _start(sandbox: Sandbox, command: str, *words: str) -> tuple[subprocess.Popen[str], IO[str]]:
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(sandbox)}
    process = subprocess.Popen(
        [COMMAND, "audit", command, "--follow", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    return process, process.stdout


def test_events_are_listed_in_words_and_chosen_by_time_and_outcome(database: SqlDatabase, rotator: Rotator) -> None:
    listed = rotator("audit", "list")
    titles, first, second = listed.stdout.splitlines()
    assert titles.split() == ["#", "TIME", "EVENT", "SUBJECT", "DETAIL"]
    assert first.endswith("rotation_failed  npm-feed  failed: the vault refused")
    assert second.endswith("pat_minted       npm-feed  PAT id-2")
    for words, numbers in (
        (("--until", "2026-11-03"), [1]),
        (("--since", "2026-11-03", "--until", "2026-11-04"), [2]),
        (("--outcome", "failed"), [1]),
        (("--outcome", "unknown"), []),
        (("--name", "npm-feed"), [1, 2]),
    ):
        events = json.loads(rotator("audit", "list", *words, "--json").stdout)["events"]
        assert [event["sequence"] for event in events] == numbers, words
    assert len(rotator("audit", "export", "--outcome", "failed").stdout.splitlines()) == 1
    mistyped = rotator("audit", "list", "--name", "nmp-feed")
    assert (mistyped.returncode, mistyped.stdout) == (2, "")
    assert mistyped.stderr.startswith('error: there is no PAT named "nmp-feed"')
    assert rotator("audit", "list", "--until", "2d", "--follow").returncode == 2


def test_events_are_followed_until_a_person_has_enough(sandbox: Sandbox, database: SqlDatabase) -> None:
    process, lines = _start(sandbox, "list", "--json", "--outcome", "succeeded")
    assert json.loads(lines.readline())["sequence"] == 2
    with database.begin() as work:
        work.audit.append(replace(make_entry(), outcome=Outcome.UNKNOWN), DAY)
        work.audit.append(make_entry(), DAY)
    event = json.loads(lines.readline())
    check_printed(("audit", "list"), event)
    assert event["sequence"] == 4
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest, errors) == (130, "", "interrupted\n")


def test_following_ends_when_nobody_reads_it_any_more(sandbox: Sandbox, database: SqlDatabase) -> None:
    process, lines = _start(sandbox, "list")
    with process:
        assert "rotation_failed" in lines.readline()
        lines.close()
        assert process.wait(timeout=PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_siem_gets_what_comes_after_the_last_event_that_it_has(sandbox: Sandbox, database: SqlDatabase) -> None:
    process, lines = _start(sandbox, "export", "--format", "ocsf", "--since-sequence", "1")
    assert json.loads(lines.readline())["metadata"]["sequence"] == 2
    with database.begin() as work:
        work.audit.append(make_entry(), DAY)
    event = json.loads(lines.readline())
    assert (event["metadata"]["sequence"], event["class_uid"]) == (3, 3004)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest, errors) == (130, "", "interrupted\n")


def test_collector_gets_events_by_syslog_as_they_are_written(sandbox: Sandbox, database: SqlDatabase) -> None:
    with SyslogReceiver(sandbox.addresses.config_path.with_name("server.pem")) as receiver:
        words = ("--format", "cef", "--since-sequence", "1", "--syslog", receiver.address)
        process, _ = _start(sandbox, "export", *words)
        assert "rotator - pat_minted - CEF:0|rotator|" in receiver.take()
        with database.begin() as work:
            work.audit.append(make_entry(), DAY)
        assert "externalId=3 " in receiver.take()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest, errors) == (130, "", "interrupted\n")
    assert receiver.problems == []


def test_export_by_syslog_says_where_to_go_on(database: SqlDatabase, rotator: Rotator, sandbox: Sandbox) -> None:
    with SyslogReceiver(sandbox.addresses.config_path.with_name("server.pem")) as receiver:
        done = rotator("audit", "export", "--syslog", receiver.address)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"2 events sent to {receiver.address}; the last one is 2\n"
    away = rotator("audit", "export", "--syslog", receiver.address)
    assert away.returncode == 1
    assert "takes nothing: Connection refused [syslog_unreachable]" in away.stderr
    for words in (("--format", "csv"), ("--output", "x"), ("--syslog", "a/b"), ("--syslog", "host:port")):
        assert rotator("audit", "export", "--syslog", receiver.address, *words).returncode == 2


def _export(rotator: Rotator, form: str, *words: str) -> list[str]:
    return rotator("audit", "export", "--format", form, *words).stdout.splitlines()


@pytest.mark.parametrize("form", ["jsonl", "csv", "cef", "ocsf"])
def test_export_has_the_events_of_a_period(database: SqlDatabase, rotator: Rotator, form: str) -> None:
    titles = int(form == "csv")
    for words, named in (
        (("--since", "2026-11-02", "--until", "2026-11-03"), "rotation_failed"),
        (("--since", "2026-11-03", "--until", "2026-11-04"), "pat_minted"),
    ):
        [line] = _export(rotator, form, *words)[titles:]
        assert named in line
    assert _export(rotator, form, "--since", "2026-11-04")[titles:] == []


def _await_lines(process: subprocess.Popen[str], target: Path, count: int) -> list[str]:
    """The lines of a file that the process writes, once there are so many."""
    for _ in range(int(5 * PATIENCE)):
        text = target.read_text(encoding="utf-8") if target.exists() else ""
        if text.endswith("\n") and text.count("\n") == count:
            return text.splitlines()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    raise AssertionError(f"the file has: {text}")


def test_followed_events_are_in_the_file_as_they_are_written(
    sandbox: Sandbox, database: SqlDatabase, tmp_path: Path
) -> None:
    target = tmp_path / "siem.jsonl"
    process, _ = _start(sandbox, "export", "--since-sequence", "1", "--output", str(target))
    _await_lines(process, target, 1)
    with database.begin() as work:
        work.audit.append(make_entry(), DAY)
    lines = _await_lines(process, target, 2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == ("", "interrupted\n")
    numbers = [json.loads(line)["sequence"] for line in lines]
    assert (process.returncode, numbers, target.stat().st_mode & 0o777) == (130, [2, 3], 0o600)


def test_export_begins_after_an_event_in_each_format(database: SqlDatabase, rotator: Rotator) -> None:
    for form, first in (("jsonl", '{"sequence":2,'), ("cef", "CEF:0|rotator|rotator|"), ("ocsf", '{"activity_id":1,')):
        lines = rotator("audit", "export", "--format", form, "--since-sequence", "1").stdout.splitlines()
        assert [line.startswith(first) for line in lines] == [True]
    assert [row["sequence"] for row in csv.DictReader(_export(rotator, "csv", "--since-sequence", "1"))] == ["2"]
    assert _export(rotator, "jsonl", "--since-sequence", "2") == []
    assert _export(rotator, "jsonl", "--since-sequence", "0") == _export(rotator, "jsonl")
    ahead = rotator("audit", "export", "--since-sequence", "3")
    assert (ahead.returncode, ahead.stdout) == (2, "")
    assert "the audit log has no event 3 yet: its newest is 2" in ahead.stderr
    assert rotator("audit", "export", "--since-sequence", "-1").returncode == 2
    assert rotator("audit", "export", "--until", "2d", "--follow").returncode == 2


def test_export_overwrites_a_file_only_when_it_is_told_to(
    database: SqlDatabase, rotator: Rotator, tmp_path: Path
) -> None:
    target = tmp_path / "audit.jsonl"
    assert rotator("audit", "export", "--output", target).returncode == 0
    target.write_text("a reviewer's\n", encoding="utf-8")
    refused = rotator("audit", "export", "--output", target, "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (2, "output")
    assert target.read_text(encoding="utf-8") == "a reviewer's\n"
    assert rotator("audit", "export", "--output", target, "--force").returncode == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2
    assert rotator("audit", "export", "--output", "/dev/null").returncode == 0
