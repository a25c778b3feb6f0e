"""The file of an archive of the audit log, for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from filecmp import cmp
from pathlib import Path

from rotator.adapters.disk import choose_fix
from rotator.adapters.ownership import make_file
from rotator.errors import UsageError

_LONGEST_LINE = 16 * 1024 * 1024


class LocalArchiveFile:
    """The port ArchiveFile."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    @property
    def name(self) -> str:
        """See the port."""
        return str(self._path)

    def write(self, lines: Iterable[bytes]) -> None:
        """See the port. Nobody sees it under its name before all of it is on the disk."""
        fresh = self._path.with_name(f".{self._path.name}.partial")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(make_file(fresh, 0o600, self._path), "wb") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            self._put(fresh)
        except OSError as error:
            fix = choose_fix(error, self._path, "Choose another --output.")
            raise UsageError(
                f"{self._path} cannot be written: {error.strerror}", code="archive_file", fix=fix
            ) from error
        finally:
            fresh.unlink(missing_ok=True)

    def _put(self, fresh: Path) -> None:
        """Give the file its name; if there is one of that name already, it must be the same."""
        try:
            os.link(fresh, self._path)
        except FileExistsError:
            if not cmp(fresh, self._path, shallow=False):
                raise UsageError(
                    f"{self._path} exists, and is another file", code="archive_file", fix="Choose another --output."
                ) from None
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self) -> Iterator[bytes]:
        """See the port."""
        try:
            with self._path.open("rb") as file:
                while line := file.readline(_LONGEST_LINE):
                    yield line
        except OSError as error:
            raise UsageError(
                f"the archive {self._path} cannot be read: {error.strerror}",
                code="archive_file",
                fix="Name the file that the archive was written to, or where it is now.",
            ) from error
