"""Where a report or export goes: whole or not at all, for its owner alone."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.cli.commands.audit_export import note_written
from rotator.cli.exporting import opened, opened_raw, opened_whole
from rotator.cli.output.exports import make_line, write_events
from rotator.cli.spreadsheets import guard
from rotator.cli.streams import Output, OutputError
from rotator.domain.audit_event import AuditEvent
from rotator.errors import UsageError
from tests.support.records import make_entry
from tests.unit.test_report_page import NOW

KILLED = """
import os, signal, sys
from pathlib import Path
from rotator.cli.exporting import opened_whole
with opened_whole(Path(sys.argv[1]), force=True) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_file_has_its_name_when_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with opened(path, force=False) as stream:
        stream.write("a page\n")
        assert not path.exists()
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("a page\n", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_kill_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "evidence.zip"
    path.write_bytes(b"of yesterday")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"of yesterday"


def test_failure_leaves_the_file_that_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "evidence.zip"
    path.write_bytes(b"of yesterday")
    opening = opened_whole(path, force=True)
    opening.__enter__().write(b"half")
    assert opening.__exit__(ZeroDivisionError, ZeroDivisionError(), None) is not True
    assert path.read_bytes() == b"of yesterday"
    assert [found.name for found in tmp_path.iterdir()] == ["evidence.zip"]


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    opening = opened_whole(path, force=False)
    opening.__enter__().write(b"ours")
    path.write_bytes(b"theirs")
    with pytest.raises(UsageError, match="exists"):
        opening.__exit__(None, None, None)
    assert path.read_bytes() == b"theirs"
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_link_is_followed_and_a_wide_mode_made_narrow(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "report.html", tmp_path / "report.html"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o644)
    link.symlink_to(target)
    with opened_whole(link, force=True) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


def test_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with opened_whole(path, force=False) as stream:
        stream.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


@pytest.mark.parametrize("name", ["missing/report.html", "file/report.html", "x" * 300])
def test_path_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError), opened_whole(tmp_path / name, force=False) as stream:
        stream.write(b"x")


def test_file_that_grows_is_there_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with opened_raw(path, force=False):
        assert path.exists()


def test_growing_file_goes_on_at_its_end_when_somebody_emptied_it(tmp_path: Path) -> None:
    """As `logrotate` does with copytruncate."""
    path = tmp_path / "events.jsonl"
    with opened(path, force=False, grows=True) as stream:
        stream.write("one\n")
        assert path.read_bytes() == b"one\n"
        os.truncate(path, 0)
        stream.write("two\n")
    assert path.read_bytes() == b"two\n"


def test_growing_file_has_no_half_line_when_there_is_no_more_room(tmp_path: Path) -> None:
    path, limits = tmp_path / "events.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path, force=False, grows=True) as stream:
        stream.write("one\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                stream.write("two\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize("words", [[], ["-u"]])
def test_output_that_does_not_fit_is_an_error_with_a_buffer_and_without(tmp_path: Path, words: list[str]) -> None:
    """As with PYTHONUNBUFFERED."""
    write = "from rotator.cli.streams import open_streams; open_streams(); import sys; print('x' * 3000, flush=True)"
    line = 'ulimit -f 2; exec "$@" > "$OUT"'
    call = ["bash", "-c", line, "bash", sys.executable, *words, "-c", write]
    environment = {**os.environ, "OUT": str(tmp_path / "stdout")}
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert "OutputError: [Errno 27] File too large" in done.stderr


def test_cursor_is_the_last_event_that_left_when_stdout_has_no_more_room(tmp_path: Path) -> None:
    limits, written = resource.getrlimit(resource.RLIMIT_FSIZE), [0]
    events = [AuditEvent(number, NOW, make_entry(), "", "") for number in (1, 2, 3)]
    room = 5 * len(make_line(events[0], "jsonl")) // 2
    stream = Output(io.BufferedWriter(io.FileIO(tmp_path / "stdout", "w")), encoding="utf-8")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OutputError, match="too large"):
            write_events(note_written(iter(events), written, stream), stream, "jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        stream.close()
    assert written == [2]


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("=1", "'=1"),
        ("\uff1d1", "'\uff1d1"),
        ('x;=HYPERLINK("u");y', 'x;\'=HYPERLINK("u");y'),
        ('x; "=1', "x;' \"=1"),
        ("a; b = 1", "a; b = 1"),
    ],
)
def test_no_spreadsheet_computes_a_part_of_a_cell(text: str, guarded: str) -> None:
    """Some divide at semicolons."""
    assert guard(text) == guarded
