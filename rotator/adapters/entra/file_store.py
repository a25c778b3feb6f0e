"""The token cache in a file: written whole or not at all, with the generation before beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path

from rotator.adapters.disk import choose_fix
from rotator.adapters.entra.file_lock import FileLock
from rotator.adapters.ownership import hand_over
from rotator.adapters.regular_files import check_regular
from rotator.errors import RotatorError
from rotator.ports.token_cache_store import TokenCacheUnwritableError

_HEAD = b"gAAAAA"
"""How every file of ours begins: Fernet's version, and a time before the year 2106."""


class FileTokenCacheStore:
    """The port TokenCacheStore on a file of mode 0600, for all accounts of an installation.

    Writes are made under a lock on `PATH.lock`. The previous generation is kept as `PATH.previous`. A link in place of
    the file is refused; no other file is lost.
    Raises RotatorError (`token_cache_folder`, `token_cache_unreadable`, `token_cache_unwritable`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._previous_path = path.with_name(path.name + ".previous")
        self._lock = FileLock(path.with_name(path.name + ".lock"), path)
        self.place = str(path)
        self.removal = f"remove {path} and {self._previous_path}"

    def find_mark(self) -> tuple[int, int, int] | None:
        """See the port."""
        try:
            found = self._path.stat()
        except OSError:
            return None  # reading it says what is wrong
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self, most: int) -> bytes | None:
        """See the port."""
        return self._read(self._path, most)

    def read_previous(self, most: int) -> bytes | None:
        """See the port."""
        return self._read(self._previous_path, most)

    def write(self, fresh: bytes, previous: bytes | None) -> tuple[int, int, int] | None:
        """See the port."""
        try:
            if self.find_mark() is not None:
                if previous is not None:
                    _write_whole(self._previous_path, previous)
                else:
                    _keep_aside(self._path)
            _write_whole(self._path, fresh)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TokenCacheUnwritableError(
                f"the token cache {self._path} cannot be written: {reason}",
                reason=reason,
                fix=choose_fix(error, self._path, "Make the folder writable for the user that runs rotator."),
            ) from error
        return self.find_mark()

    def reading(self) -> FileLock:
        """See the port."""
        return self._lock

    def writing(self) -> FileLock:
        """See the port."""
        return self._lock

    def make_lock(
        self, sign_in: str, patience: timedelta, pause: Callable[[float], None]
    ) -> AbstractContextManager[object]:
        """See the port. Each sign-in has a file of its own for it."""
        identity = hashlib.sha256(sign_in.encode()).hexdigest()[:12]
        beside = self._path.with_name(f"{self._path.name}.{identity}.lock")
        return FileLock(beside, self._path, patience=patience, pause=pause)

    def _read(self, path: Path, most: int) -> bytes | None:
        if not self._path.parent.is_dir():
            raise RotatorError(
                f"the folder of the token cache {self._path} does not exist",
                code="token_cache_folder",
                fix=f"Create {self._path.parent}, or correct token_cache.path.",
            )
        if path.is_symlink():
            raise RotatorError(
                f"the token cache {path} is a link, and rotator replaces its files whole",
                code="token_cache_unreadable",
                fix="Write into token_cache.path where the file itself is, and remove the link.",
            )
        try:
            check_regular(path)
            with path.open("rb") as file:
                return file.read(most)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RotatorError(
                f"the token cache {path} cannot be read: {error.strerror}",
                code="token_cache_unreadable",
                fix="Make it a file owned by the user that runs rotator.",
            ) from error


def _keep_aside(path: Path) -> None:
    """Keep a file that we never wrote as `PATH.foreign`: somebody may need what the settings name by mistake."""
    with path.open("rb") as file:
        is_ours = _HEAD.startswith(file.read(len(_HEAD)))
    if not is_ours:
        with suppress(OSError):  # there is one already, or this file system has no links
            os.link(path, path.with_name(f"{path.name}.foreign"), follow_symlinks=False)


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file: after a crash it holds either the old content or the new, of mode 0600."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        hand_over(descriptor, path)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
