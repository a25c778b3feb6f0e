"""Who may read the files with keys, and who owns what a command of root writes: the real command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A sandbox's folder, which a service user owns if we are root."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield Path(sandbox.addresses.ca_path).parent


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"ROTATOR_CONFIG": str(folder / "rotator.yaml")}
    command = [sys.executable, "-m", "rotator", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        (0o600, 0, None),
        (0o400, 0, None),
        (0o640, 0, "its group can read"),
        (0o644, 2, "every user of this host can read"),
        (0o604, 2, "every user of this host can read"),
        (0o622, 2, "every user of this host can change"),
    ],
)
@pytest.mark.parametrize("is_link", [False, True])
def test_key_file_is_refused_or_told_when_others_can_read_it(
    folder: Path, mode: int, code: int, said: str | None, is_link: bool
) -> None:
    key = folder / "token-cache.key"
    if is_link:
        # As Kubernetes mounts a secret: a link to a link to a file that is replaced whole.
        (folder / "..2026").mkdir()
        key.rename(folder / "..2026" / "token-cache.key")
        (folder / "..data").symlink_to("..2026")
        key.symlink_to(Path("..data") / "token-cache.key")
    key.chmod(mode)
    assert run(folder, "db", "upgrade").returncode == 0
    done = run(folder, "accounts")
    named = '"setting": "token_cache.key"' if code == 0 else "token_cache.key:"  # a line of the log, or an error
    assert (done.returncode, done.stderr.count(named)) == (code, said is not None), done.stderr
    if said is not None:
        assert said in done.stderr
        assert "chmod 600" in done.stderr


@pytest.mark.parametrize(("mode", "code"), [(0o600, 0), (0o644, 2), (0o666, 2)])
def test_key_in_the_settings_is_refused_when_others_can_read_them(folder: Path, mode: int, code: int) -> None:
    settings, key = folder / "rotator.yaml", (folder / "token-cache.key").read_text().strip()
    settings.write_text(settings.read_text().replace("{file: token-cache.key}", f'"{key}"'))
    settings.chmod(mode)
    assert key in settings.read_text()
    assert run(folder, "db", "upgrade").returncode == 0
    done = run(folder, "accounts")
    assert done.returncode == code, done.stderr
    assert ("chmod 600" in done.stderr) is (code == 2)
    assert key not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket"])
def test_database_that_is_no_file_is_named_and_nobody_waits_for_it(folder: Path, kind: str) -> None:
    path = folder / "rotator.db"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(str(path))
    else:
        path.symlink_to("/dev/full")
    for arguments in (["db", "upgrade"], ["status"]):
        done = run(folder, *arguments)
        assert done.returncode == 1, done.stderr
        assert "rotator.db cannot be opened" in done.stderr
        assert "fix: Name a file, or one that does not exist yet, in the `database` setting." in done.stderr
        assert "Report it" not in done.stderr


def test_database_is_its_folders_owners_when_root_makes_it(folder: Path) -> None:
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65533)
    owner = (folder.stat().st_uid, folder.stat().st_gid)
    assert run(folder, "db", "upgrade").returncode == 0
    assert run(folder, "plan").returncode in (0, 3, 10)
    databases = list(folder.glob("rotator.db*"))
    assert databases
    for path in databases:
        assert (path.stat().st_uid, path.stat().st_gid) == owner, path
