"""Do something as a user who is not root, because root may do everything."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def do_as_other(act: Callable[[], str]) -> str:
    """Return what `act` returns in a child process: as `nobody` where this user is root, and as this user elsewhere.

    What it imports must be loaded before: that user may not be able to read it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                account = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            answer = act()
        except BaseException:
            answer = traceback.format_exc()
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """An empty folder of the user that `do_as_other` uses."""
    folder = Path(tempfile.mkdtemp(prefix="rotator-"))
    give_to_other(folder)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def give_to_other(path: Path) -> None:
    """Make that user the owner."""
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(path, account.pw_uid, account.pw_gid)
