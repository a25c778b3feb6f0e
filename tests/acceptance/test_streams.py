"""Streams that are closed or full, a folder that is gone, and an answer that a terminal is not asked for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import COMMAND, PATIENCE, Rotator, config_of
from tests.support.terminal import read_to_end, start_on_terminal

UNWRITTEN = "error: the output could not be written: "


def run_in_shell(
    sandbox: Sandbox, command: str, *, cwd: Path | None = None, stdin: int = subprocess.DEVNULL, unbuffered: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a shell does, with its redirections; `unbuffered`: as Python's variable says."""
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {shlex.quote(str(COMMAND))} {command}"],
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "ROTATOR_CONFIG": config_of(sandbox), "PYTHONUNBUFFERED": unbuffered},
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def adopted(signed_in: Rotator) -> Rotator:
    """Give the command with every PAT adopted that the policy covers."""
    assert signed_in("inventory", "adopt", "--all", "--yes").returncode == 0
    return signed_in


@pytest.mark.parametrize(
    ("redirection", "why", "fix"),
    [
        (">/dev/full", "No space left on device", "Free space where it goes"),
        (">&-", "stdout is not open for writing", "Send it to a file, or to /dev/null."),
    ],
)
def test_output_that_cannot_be_written_is_an_error_in_words(
    sandbox: Sandbox, redirection: str, why: str, fix: str
) -> None:
    for command in ("--version", "config check", "config check --json"):
        result = run_in_shell(sandbox, f"{command} {redirection}")
        assert (result.returncode, result.stderr.splitlines()[0]) == (1, UNWRITTEN + why)
        assert result.stderr.splitlines()[1].startswith(f"fix: {fix}")
        assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_error_is_said_on_stderr_when_its_json_cannot_be_written(sandbox: Sandbox, redirection: str) -> None:
    for command, said in (
        ("login nobody --json", 'there is no account named "nobody"'),
        ("nonsense --json", "nonsense"),
    ):
        result = run_in_shell(sandbox, f"{command} {redirection}")
        assert (result.returncode, said in result.stderr, UNWRITTEN in result.stderr) == (2, True, True)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_plugin_of_a_monitoring_system_cannot_tell_when_its_line_cannot_be_written(
    sandbox: Sandbox, rotator: Rotator, redirection: str
) -> None:
    assert rotator("db", "upgrade").returncode == 0
    assert run_in_shell(sandbox, f"status --nagios {redirection}").returncode == 3


@pytest.mark.parametrize("command", ["status", "status --check", "once --json", "once -vv", "audit export"])
def test_command_ends_as_it_would_when_nobody_reads_it_to_the_end(
    sandbox: Sandbox, adopted: Rotator, command: str
) -> None:
    """As with `| head -1`: its work is done, and its exit code says how that went. Logs go the same way."""
    reading, writing = os.pipe()
    os.close(reading)
    gone = subprocess.run(
        [COMMAND, *command.split()],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing if "-vv" in command else subprocess.PIPE,
        timeout=PATIENCE,
        env={**os.environ, "ROTATOR_CONFIG": config_of(sandbox)},
        check=False,
    )
    os.close(writing)
    assert gone.returncode == {"status --check": 4}.get(command, 0)
    assert b"error:" not in (gone.stderr or b"")
    assert ("overlapping" in adopted("status").stdout) is command.startswith("once")


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_what_a_run_did_stays_done_when_its_report_cannot_be_written(
    sandbox: Sandbox, adopted: Rotator, redirection: str
) -> None:
    result = run_in_shell(sandbox, f"once {redirection}")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert UNWRITTEN in result.stderr
    assert "overlapping" in adopted("status").stdout
    assert adopted("audit", "verify").returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_run_does_its_work_when_nobody_can_be_told_of_it(
    sandbox: Sandbox, adopted: Rotator, redirection: str, unbuffered: str
) -> None:
    """What goes to a closed or full stderr is for nobody; nothing of the run is."""
    result = run_in_shell(sandbox, f"once -vv {redirection}", unbuffered=unbuffered)
    assert "rotated" in result.stdout
    assert result.returncode == 0
    assert "overlapping" in adopted("status").stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_error_has_its_exit_code_when_nobody_can_be_told_of_it(
    sandbox: Sandbox, redirection: str, unbuffered: str
) -> None:
    assert run_in_shell(sandbox, f"config nothing {redirection}", unbuffered=unbuffered).returncode == 2


def test_command_says_so_when_the_current_folder_was_deleted(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    for command in ("status", "config check", "init", "once --json"):
        result = subprocess.run(
            ["/bin/sh", "-c", f"rmdir ../gone 2>&-; exec {shlex.quote(str(COMMAND))} {command}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=folder if folder.exists() else None,
            check=False,
        )
        folder.mkdir(exist_ok=True)
        assert result.returncode == 2
        assert "the current folder was deleted" in result.stdout + result.stderr
        assert "Traceback" not in result.stderr


def read_terminal(sandbox: Sandbox, folder: Path, words: tuple[str, ...], columns: int) -> str:
    """Return what a command that succeeds shows on a terminal of that width."""
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(sandbox), "NO_COLOR": "1"}
    process, ours = start_on_terminal([COMMAND, *words], environment, folder, columns)
    try:
        shown = read_to_end(ours).decode()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown


@pytest.mark.parametrize(("words", "columns"), [(("plan",), 60), (("plan",), 140), (("status", "--help"), 140)])
def test_text_has_the_width_of_the_terminal(
    sandbox: Sandbox, adopted: Rotator, tmp_path: Path, words: tuple[str, ...], columns: int
) -> None:
    """Nobody says COLUMNS: shells keep it to themselves. A command is in one piece, so that it can be pasted."""
    shown = read_terminal(sandbox, tmp_path, words, columns)
    longest = max(len(line) for line in shown.splitlines() if not re.fullmatch(r" *`[^`]+`[,.]?", line))
    assert (longest <= 60) if columns == 60 else (80 < longest <= 140)


def test_run_on_a_terminal_says_in_words_alone_who_waits_for_a_person(
    sandbox: Sandbox, adopted: Rotator, tmp_path: Path
) -> None:
    """The sum counts them and says where to look. What reads a pipe gets the log as well."""
    shown = read_terminal(sandbox, tmp_path, ("once",), 140)
    assert "3 PATs wait for a person" in shown
    assert "expiry_foreseen" not in shown
    assert "rotation_blocked" not in shown


def test_nobody_is_asked_about_an_overlap_that_is_not_there(sandbox: Sandbox, adopted: Rotator) -> None:
    """On a terminal the command would ask; there is nothing to say yes to."""
    ours, theirs = os.openpty()
    try:
        result = run_in_shell(sandbox, "revoke docs-site --previous", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.returncode == 2
    assert "no old PAT in an overlap" in result.stderr
    assert "[y/N]" not in result.stderr
