"""The folder of a running sandbox: for one at a time, and never with a person's own settings in it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rotator.sandbox.configuration import FIRST_WORDS

_LOCK = "sandbox.lock"
_REPLACED = ("ca.pem", "server.pem", "ops-url", "proxy.url")
"""What each start writes anew, beside the settings that name it."""


class FolderError(Exception):
    """A sandbox cannot run in a folder. `message` says why, `fix` what to do."""

    def __init__(self, message: str, fix: str = "Choose another folder.") -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


@contextmanager
def keep_folder(directory: Path) -> Iterator[None]:
    """Make the folder, and keep it for this sandbox until the end.

    FolderError when it cannot be made, holds files that no sandbox wrote, or belongs to a running sandbox.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in (_LOCK, *FIRST_WORDS):
            _check_file(directory / name)
        if not (directory / "rotator.yaml").exists():
            _check_unused(directory)
        lock = (directory / _LOCK).open("a", encoding="utf-8")  # "w" would empty what a link leads to
    except OSError as error:
        raise FolderError(f"{directory} cannot be used as a folder: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(
                f"a sandbox is already running in {directory}", fix="Stop it, or choose another folder."
            ) from None
        for name, words in FIRST_WORDS.items():
            path = directory / name
            if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(words):
                raise FolderError(f"{path} is not a sandbox's and would be written over")
        yield


def _check_unused(directory: Path) -> None:
    """FolderError where no sandbox has run yet, and a file of somebody else's would be written over."""
    for name in _REPLACED:
        path = directory / name
        if path.is_symlink() or path.exists():
            raise FolderError(f"{path} is not a sandbox's and would be written over")


def _check_file(path: Path) -> None:
    """FolderError for a folder, and for a pipe: whoever opens one waits for ever, whatever signal comes."""
    if path.exists() and not path.is_file():
        raise FolderError(f"{path} is there, and no file")
