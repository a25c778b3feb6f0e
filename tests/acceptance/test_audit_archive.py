"""`rotator audit archive` as people use it, killed at every commit, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer
from rotator.domain.secret_value import SecretValue
from rotator.sandbox.running import Sandbox
from tests.support.forgery import load_numbers
from tests.support.installed_command import PATIENCE, config_of
from tests.support.killing import Run, read_commits
from tests.support.nursery import ForkedCommand
from tests.support.old_log import fill_old_log
from tests.support.published import check_printed
from tests.support.stage_database import PostgresCopy, SqliteFile, StageDatabase

ARCHIVED, EVENTS = 6000, 6010
"""Deleting them takes two transactions."""
KEPT = {5: "policy_changed", 5500: "log_anchored"}
COMMAND = ("audit", "archive", "--before", "2026-06-01", "--output", "old.archive")
COMMITS = ["log_archived", "INSERT checkpoint", "DELETE audit_event", "DELETE audit_event"]


@dataclass(frozen=True)
class Installation:
    """A sandbox whose database has an old log."""

    folder: Path
    stage: StageDatabase
    settings: str

    def write_settings(self, without: str = "") -> None:
        """Write the settings, with the database where it is now."""
        text = self.settings.replace("sqlite:///rotator.db", self.stage.url()).replace(without, "")
        (self.folder / "rotator.yaml").write_text(text, encoding="utf-8")

    def start(self, *words: str, dying: tuple[str, int] | None = None) -> Run:
        """Start the command."""
        output, errors = self.folder / "stdout", self.folder / "stderr"
        environment = {**os.environ, "ROTATOR_CONFIG": str(self.folder / "rotator.yaml")}
        command = ForkedCommand(
            words, environment=environment, folder=self.folder, stdout=output, stderr=errors, death=dying
        )
        return Run(command, output, errors)

    def call(self, *words: str, code: int = 0) -> str:
        """Run the command, expect an exit code, and return what it wrote to stdout."""
        run = self.start(*words)
        assert run.wait(PATIENCE) == code, run.read()
        return run.output.read_text(encoding="utf-8")

    def list_numbers(self) -> list[int]:
        """The events that the database has."""
        return load_numbers(self.stage.url())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox, and its database as it was long ago."""
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        settings = Path(config_of(sandbox))
        folder = settings.parent
        stage: StageDatabase
        if request.param == "sqlite":
            stage = SqliteFile(folder / "rotator.db")
        else:
            stage = PostgresCopy(request.getfixturevalue("postgres_server"))
        upgrade(stage.url())
        signer = Ed25519Signer(SecretValue((folder / "audit-signing.key").read_text(encoding="utf-8")))
        fill_old_log(stage.url(), signer, (3000, ARCHIVED, EVENTS), KEPT)
        stage.keep()
        yield Installation(folder, stage, settings.read_text(encoding="utf-8"))


@pytest.fixture
def installation(installed: Installation) -> Installation:
    """The same, reset."""
    installed.stage.restore()
    for path in installed.folder.glob("*.archive*"):
        path.unlink()
    installed.write_settings()
    return installed


def check_end(installation: Installation) -> None:
    """All that was archived is in the file, and the log verifies across it with and without that."""
    numbers = installation.list_numbers()
    assert numbers[:3] == [5, 5500, ARCHIVED + 1]
    for words in ((), ("--archive", "old.archive")):
        told = json.loads(installation.call("audit", "verify", "--json", *words))
        check_printed(("audit", "verify"), told)
        assert (told["valid"], told["events"]) == (True, numbers[-1])
        [archive] = told["archives"]
        assert (archive["first"], archive["last"], archive["checked"]) == (1, ARCHIVED, bool(words))
    assert not list(installation.folder.glob(".*partial"))


def test_old_events_are_moved_when_somebody_says_yes(installation: Installation) -> None:
    looked = json.loads(installation.call(*COMMAND, "--dry-run", "--json"))
    check_printed(("audit", "archive"), looked)
    assert (looked["first"], looked["last"], looked["deleted"], looked["dry_run"]) == (1, ARCHIVED, 0, True)
    refused = installation.start(*COMMAND)
    assert refused.wait(PATIENCE) == 2
    assert "`rotator audit archive --before 2026-06-01 --output old.archive --yes`" in refused.read()
    assert len(installation.list_numbers()) == EVENTS
    told = json.loads(installation.call(*COMMAND, "--yes", "--json", "--reason", "the year is over"))
    check_printed(("audit", "archive"), told)
    assert (told["first"], told["last"], told["deleted"]) == (1, ARCHIVED, ARCHIVED - len(KEPT))
    check_end(installation)
    text = installation.call("audit", "verify", "--archive", "old.archive")
    assert "Events 1 to 6000 are in 1 archive; 1 of them checked." in text
    event = json.loads(installation.call("audit", "list", "--event", "log_archived", "--json"))["events"][0]
    assert event["details"]["reason"] == "the year is over"
    assert event["details"]["file"] == str(installation.folder / "old.archive")
    shown = installation.start("audit", "show", "4711")
    assert (shown.wait(PATIENCE), "audit event 4711 is in an archive" in shown.read()) == (2, True)
    assert str(installation.folder / "old.archive") in shown.read()
    assert json.loads(installation.call("audit", "show", "5500", "--json"))["event"]["event"] == "log_anchored"
    assert "There is nothing to move." in installation.call(*COMMAND, "--yes")


def test_report_and_its_evidence_say_what_is_in_archives(installation: Installation) -> None:
    installation.call(*COMMAND, "--yes")
    words = ("audit", "report", "--period", "2026-01-01..2026-11-01", "--output", "page.html", "--force")
    told = json.loads(installation.call(*words, "--json"))
    check_printed(("audit", "report"), told)
    assert (told["log"]["valid"], told["log"]["archived"]) == (True, ARCHIVED)
    page = (installation.folder / "page.html").read_text(encoding="utf-8")
    assert f"Events 1 to {ARCHIVED} are in archives of old events" in page
    installation.call(*words, "--archive", "evidence.zip")
    with ZipFile(installation.folder / "evidence.zip") as archive:
        archive.extractall(installation.folder / "evidence")
    verified = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py"],
        cwd=installation.folder / "evidence",
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"The events {ARCHIVED + 1} to {EVENTS} follow each other" in verified.stdout


def test_command_is_refused_without_a_key(installation: Installation) -> None:
    installation.write_settings(without="  signing_key: {file: audit-signing.key}\n")
    run = installation.start(*COMMAND, "--yes")
    assert (run.wait(PATIENCE), "no key to sign it with" in run.read()) == (2, True)
    assert len(installation.list_numbers()) == EVENTS + 1  # which says that
    [event] = json.loads(installation.call("audit", "list", "--event", "command_refused", "--json"))["events"]
    assert (event["sequence"], event["details"]["code"]) == (EVENTS + 1, "no_signing_key")


def test_reviewer_is_told_which_file_and_which_event_when_an_archive_was_changed(installation: Installation) -> None:
    installation.call(*COMMAND, "--yes")
    path = installation.folder / "old.archive"
    path.write_bytes(path.read_bytes().replace(b"feed-4711", b"feed-1147"))
    told = json.loads(installation.call("audit", "verify", "--archive", "old.archive", "--json", code=1))
    check_printed(("audit", "verify"), told)
    assert (told["error"]["sequence"], told["error"]["archive"]) == (4711, str(path))


def test_commits_are_those_that_the_next_test_kills_at(installation: Installation) -> None:
    run = installation.start(*COMMAND, "--yes", dying=("never", 0))
    assert run.wait(PATIENCE) == 0, run.read()
    assert read_commits(run) == COMMITS


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(len(COMMITS)), ids=[f"{n}-{c}" for n, c in enumerate(COMMITS)])
def test_nothing_is_lost_when_the_command_is_killed_at_a_commit(
    installation: Installation, when: str, number: int
) -> None:
    run = installation.start(*COMMAND, "--yes", dying=(when, number))
    assert run.wait(PATIENCE) == -signal.SIGKILL, run.read()
    assert json.loads(installation.call("audit", "verify", "--json"))["valid"]
    installation.call(*COMMAND, "--yes")
    check_end(installation)
    database = SqlDatabase(installation.stage.url())
    with database.read() as reading:
        assert reading.audit.count({"log_archived"}, 0) == {"log_archived": 1}
    database.close()


def test_half_a_file_of_a_killed_command_is_in_nobodys_way(installation: Installation) -> None:
    partial = installation.folder / ".old.archive.partial"
    partial.write_bytes(b"half a li")
    installation.call(*COMMAND, "--yes")
    check_end(installation)
