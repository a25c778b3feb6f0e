"""What cannot be taken back is confirmed: with `--yes`, or on a terminal; where there is none, nothing is done."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from rotator.cli.exit_codes import DECLINED
from rotator.sandbox.running import Sandbox
from tests.support.installed_command import COMMAND, Rotator, config_of
from tests.support.terminal import read_to_end, start_on_terminal

NAME = "npm-feed"
CREATE = ("create", "--account", "build-bot", "--organization", "contoso", "--scope", "vso.code", "--lifetime", "30d")


def _read_events(rotator: Rotator) -> list[str]:
    events = json.loads(rotator("audit", "list", "--json").stdout)["events"]
    return [event["event"] for event in events]


def _answer(
    sandbox: Sandbox, folder: Path, words: tuple[str, ...], answer: str, *, end: str = "\n", columns: int = 200
) -> tuple[int, str]:
    """Run a command on a terminal, answer what it asks, and return its exit code and what the terminal showed."""
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(sandbox), "COLUMNS": str(columns)}
    process, ours = start_on_terminal([COMMAND, *words], environment, folder)
    shown = b""
    try:
        while b"[y/N]: " not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, f"{answer}{end}".encode())
        shown += read_to_end(ours)
        return process.wait(timeout=60), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def managed(sandbox: Sandbox, signed_in: Rotator) -> Rotator:
    """Give the command with one PAT in its overlap."""
    policy = sandbox.addresses.policy_path
    policy.write_text(re.sub(r"overlap: \w+", "overlap: 24h", policy.read_text(encoding="utf-8")), encoding="utf-8")
    assert signed_in("inventory", "adopt", NAME).returncode == 0
    assert signed_in("rotate", NAME).returncode == 0
    return signed_in


def test_command_that_cannot_be_taken_back_does_nothing_when_nobody_can_be_asked(managed: Rotator) -> None:
    before = _read_events(managed)
    for words in (
        ("revoke", NAME),
        ("revoke", NAME, "--previous"),
        ("recover", "--revoke", "1"),
        ("inventory", "forget", NAME),
        ("inventory", "move", NAME, "--account", "build-bot"),
        ("inventory", "rebuild"),
        ("logout", "build-bot"),
    ):
        plain, as_json = managed(*words), managed(*words, "--json")
        assert (plain.returncode, as_json.returncode) == (2, 2), words
        assert "there is no terminal to ask on" in plain.stderr
        assert f"fix: Confirm with `rotator {' '.join(words)} --yes`." in plain.stderr
        assert json.loads(as_json.stdout)["error"]["code"] == "confirmation_needed"
    reasoned = managed("revoke", NAME, "--reason", "ticket 7")
    assert f"fix: Confirm with `rotator revoke {NAME} --reason 'ticket 7' --yes`." in reasoned.stderr
    assert _read_events(managed) == before


def test_forget_asks_about_no_name_that_nothing_has(managed: Rotator) -> None:
    refused = json.loads(managed("inventory", "forget", "npm-fed", "--json").stdout)["error"]
    assert (refused["code"], refused["message"].startswith('there is no PAT named "npm-fed"')) == ("unknown_name", True)


def test_command_that_cannot_be_taken_back_is_done_when_it_is_confirmed(managed: Rotator) -> None:
    for words in (
        ("revoke", NAME, "--previous"),
        ("inventory", "rebuild"),
        ("revoke", NAME),
        ("inventory", "forget", NAME),
        ("logout", "build-bot"),
    ):
        done = managed(*words, "--yes")
        assert done.returncode == 0, done.stderr
    events = _read_events(managed)
    assert (events.count("revoke_started"), events.count("pat_forgotten")) == (2, 1)
    assert events[-1] == "sign_out_completed"


@pytest.mark.parametrize(
    ("words", "nothing", "event"),
    [
        (("revoke", NAME, "--previous"), "Nothing was revoked.", "revoke_started"),
        (("inventory", "forget", "other"), "Nothing was forgotten.", "pat_forgotten"),
        (("logout",), "build-bot was not signed out.", "sign_out_completed"),
    ],
)
def test_terminal_is_asked_and_the_answer_decides(
    sandbox: Sandbox, managed: Rotator, tmp_path: Path, words: tuple[str, ...], nothing: str, event: str
) -> None:
    managed("inventory", "adopt", "docs-site")
    managed("inventory", "rename", "docs-site", "other")
    code, shown = _answer(sandbox, tmp_path, words, "n")
    assert (code, nothing in shown) == (DECLINED, True), shown
    assert event not in _read_events(managed)
    code, shown = _answer(sandbox, tmp_path, words, "y")
    assert code == 0, shown
    assert event in _read_events(managed)


def test_answer_no_ends_an_adoption_as_it_ends_every_other_command(
    sandbox: Sandbox, managed: Rotator, tmp_path: Path
) -> None:
    """With 1, so that a script which goes on after 0 does not; apt and terraform do the same."""
    code, shown = _answer(sandbox, tmp_path, ("inventory", "adopt", "docs-site"), "n")
    assert (code, "Nothing was adopted." in shown) == (DECLINED, True), shown
    assert _read_events(managed).count("pat_adopted") == 1


def test_question_is_within_the_terminal_and_breaking_it_off_ends_its_line(
    sandbox: Sandbox, managed: Rotator, tmp_path: Path
) -> None:
    assert managed("revoke", NAME, "--previous", "--yes").returncode == 0
    code, shown = _answer(sandbox, tmp_path, ("update", NAME, "--lifetime", "5d"), "\x03", end="", columns=80)
    lines = shown.replace("\r\n", "\n").replace("^C", "").splitlines()
    assert (code, lines[-1]) == (130, "interrupted"), shown
    assert lines[-2].endswith("Rotate it all the same? [y/N]: "), shown
    assert max(map(len, lines)) <= 80, shown


def test_person_sees_which_records_a_rebuild_overwrites_before_it_does(
    sandbox: Sandbox, managed: Rotator, tmp_path: Path
) -> None:
    """And is asked nothing where nothing would change."""
    assert managed("revoke", NAME, "--previous", "--yes").returncode == 0
    assert "0 rebuilt, 1 unchanged." in managed("inventory", "rebuild", "--yes").stdout
    config = Path(config_of(sandbox))
    for part in config.parent.glob("rotator.db*"):
        part.unlink()
    assert managed("db", "upgrade").returncode == 0
    code, shown = _answer(sandbox, tmp_path, ("inventory", "rebuild"), "n")
    assert (code, f"Overwrite what the inventory says of {NAME}?" in shown) == (1, True), shown
    assert json.loads(managed("inventory", "list", "--json").stdout)["pats"] == []
    assert "1 rebuilt" in _answer(sandbox, tmp_path, ("inventory", "rebuild"), "y")[1]


def test_name_that_is_taken_is_an_error_of_the_user(managed: Rotator) -> None:
    for extra in ((), ("--dry-run",)):
        taken = managed(*CREATE, NAME, *extra, "--json")
        assert (taken.returncode, json.loads(taken.stdout)["error"]["code"]) == (2, "name_taken")
    beside = managed(*CREATE, "fresh", "--secret", f"contoso-{NAME}", "--json")
    assert (beside.returncode, json.loads(beside.stdout)["error"]["code"]) == (2, "secret_taken")
    uncovered = managed(*CREATE, "fresh", "--lifetime", "400d")
    assert uncovered.returncode == 1


def test_account_that_nobody_knows_is_an_error_of_the_user(managed: Rotator) -> None:
    for words, said in (
        (
            ("inventory", "forget-limits", "--account", "build-bt"),
            'no account named "build-bt", did you mean "build-bot"',
        ),
        (("inventory", "forget-limits", "--organization", "c*"), 'no organization named "c*"'),
        (
            ("inventory", "move", NAME, "--account", "build-bt", "--yes"),
            'no account named "build-bt", did you mean "build-bot"',
        ),
        (("login", "build-bt"), 'no account named "build-bt", did you mean "build-bot"'),
        (("logout", "build-bt"), 'no account named "build-bt", did you mean "build-bot"'),
        (
            ("create", "new", *CREATE[1:2], "build-bt", *CREATE[3:]),
            'no account named "build-bt", did you mean "build-bot"',
        ),
    ):
        refused = managed(*words)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    assert managed("inventory", "forget-limits", "--account", "build-bot", "--organization", "contoso").returncode == 0


def test_lifetime_that_ends_before_the_pat_in_use_is_asked_about_and_told(managed: Rotator) -> None:
    assert managed("inventory", "adopt", "docs-site").returncode == 0
    words = ("update", "docs-site", "--lifetime", "2d")
    refused = managed(*words)
    assert (refused.returncode, "confirmation_needed" in refused.stderr) == (2, True), refused.stderr
    assert "`rotator update docs-site --lifetime 2d --yes`" in refused.stderr
    assert "update_started" not in _read_events(managed)
    done = managed(*words, "--yes")
    assert (done.returncode, done.stdout.count("it expires ")) == (0, 1), done.stdout + done.stderr
    assert "(before: " in done.stdout
    longer = managed("update", NAME, "--lifetime", "40d")
    assert "confirmation_needed" not in longer.stderr
