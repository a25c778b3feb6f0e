"""One daemon for one SQLite database."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from rotator.adapters.daemon_lock import only_daemon
from rotator.errors import ConfigError, DatabaseLockedError
from tests.support.records import NOW


def test_second_daemon_is_told_who_holds_the_database(tmp_path: Path) -> None:
    """And may hold it afterwards. The lock's file is nobody else's to read."""
    database = tmp_path / "rotator.db"
    with only_daemon(database, NOW):
        said = rf"process {os.getpid()} on .* since 2026-03-01"
        with pytest.raises(DatabaseLockedError, match=said) as held, only_daemon(database, NOW):
            pytest.fail("two hold it")
        assert (held.value.code, held.value.exit_code) == ("daemon_running", 11)
        with only_daemon(tmp_path / "other.db", NOW):
            assert (tmp_path / "rotator.db.daemon").stat().st_mode & 0o777 == 0o600
    with only_daemon(database, NOW):
        pass


def test_daemon_holds_the_database_when_the_disk_is_full(tmp_path: Path) -> None:
    """Only who holds it cannot be written down; the daemon goes on, and tells of the disk."""
    database = tmp_path / "rotator.db"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with only_daemon(database, NOW):
            with pytest.raises(DatabaseLockedError, match="another process") as held, only_daemon(database, NOW):
                pytest.fail("two hold it")
            assert held.value.code == "daemon_running"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("is_folder", [False, True])
def test_second_daemon_is_refused_when_a_symbolic_link_leads_to_the_same_database(
    tmp_path: Path, is_folder: bool
) -> None:
    """A link to the file or to its folder, whoever comes first, and also before the file exists."""
    folder = tmp_path / "real"
    folder.mkdir()
    database, link = folder / "rotator.db", tmp_path / "link"
    link.symlink_to(folder if is_folder else database)
    linked = link / "rotator.db" if is_folder else link
    for first, second in ((database, linked), (linked, database)):
        with only_daemon(first, NOW), pytest.raises(DatabaseLockedError) as held, only_daemon(second, NOW):
            pytest.fail("two hold it")
        assert str(second) in held.value.message
    assert sorted(path.name for path in tmp_path.rglob("*.daemon")) == ["rotator.db.daemon"]


def test_daemon_is_refused_when_the_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened") as refused, only_daemon(tmp_path / "no" / "r.db", NOW):
        pytest.fail("it is held")
    assert refused.value.exit_code == 2
