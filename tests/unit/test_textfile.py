"""The file for the node exporter's textfile collector."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rotator.adapters.textfile import write_textfile
from rotator.domain.monitoring_errors import MonitoringError


def test_textfile_is_replaced_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    """Whatever the umask; whoever has the old one open reads that to its end; nothing else is left in the folder."""
    path = tmp_path / "rotator.prom"
    before = os.umask(0o077)
    try:
        write_textfile(path, b"first\n")
        with path.open("rb") as reader:
            write_textfile(path, b"second\n")
            assert reader.read() == b"first\n"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"second\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_textfile_is_written_although_a_dead_process_left_its_own(tmp_path: Path) -> None:
    """Under the name that this process takes, as a link to something that must not be written."""
    other = tmp_path / "other"
    other.write_bytes(b"theirs")
    path = tmp_path / "rotator.prom"
    (tmp_path / f".rotator.prom.{os.getpid()}").symlink_to(other)
    write_textfile(path, b"text\n")
    assert (path.read_bytes(), other.read_bytes()) == (b"text\n", b"theirs")


def test_textfile_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rotator.prom"
    path.mkdir()
    with pytest.raises(MonitoringError, match=r"rotator\.prom cannot be written: Is a directory"):
        write_textfile(path, b"text\n")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(MonitoringError, match="No such file"):
        write_textfile(tmp_path / "gone" / "rotator.prom", b"text\n")
