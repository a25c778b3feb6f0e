"""Where anchors of the audit log are kept beside the vaults: a file that only grows, and a webhook."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from rotator.adapters.disk import choose_fix
from rotator.adapters.notify.webhook import SignedPost
from rotator.adapters.ownership import make_file
from rotator.adapters.regular_files import check_regular
from rotator.errors import RotatorError

_LONGEST = 16 * 1024
"""More bytes than an anchor has."""


class AnchorFile:
    """The port AnchorPlace: one line each, appended and on the disk before `give` returns."""

    def __init__(self, path: Path, longest: int = _LONGEST) -> None:
        self._path, self._longest = path, longest
        self.name = str(path)

    def find_last(self) -> str | None:
        """See the port. The rest of a line that a crash cut off is passed over."""
        try:
            check_regular(self._path)
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * self._longest))
                whole = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fail("read", error) from error
        lines = [line for line in whole if line.endswith(b"\n") and line.strip()]
        return lines[-1].decode("utf-8", "replace").strip() if lines else None

    def give(self, anchor: str, anchor_id: str) -> None:
        """See the port."""
        try:
            descriptor = self._open()
            try:
                size = os.fstat(descriptor).st_size
                is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                line = ("\n" if is_cut else "") + anchor + "\n"
                if os.write(descriptor, line.encode()) != len(line.encode()):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._fail("written", error) from error

    def _open(self) -> int:
        try:
            os.close(make_file(self._path, 0o600, self._path))
        except FileExistsError:
            pass
        else:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(folder)
            os.close(folder)
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    def read(self) -> Iterator[str]:
        """See the port."""
        try:
            check_regular(self._path)
            with self._path.open("rb") as file:
                while line := file.readline(self._longest):
                    if line.strip():
                        yield line.decode("utf-8", "replace").strip()
        except OSError as error:
            raise self._fail("read", error) from error

    def read_stamp(self, anchor: str) -> None:
        """See the port."""
        return

    def _fail(self, what: str, error: OSError) -> RotatorError:
        fix = choose_fix(error, self._path, "Let the user that runs rotator read it and append to it.")
        said = f"the anchors in {self.name} cannot be {what}: {error.strerror}"
        return RotatorError(said, code="anchor_file", fix=fix)


class AnchorWebhook:
    """The port AnchorPlace: a signed POST of each anchor. What the receiver keeps, nobody can ask it."""

    def __init__(self, host: str, post: SignedPost) -> None:
        self.name, self._post = host, post
        self._last: str | None = None

    def find_last(self) -> str | None:
        """See the port. Only this process knows what it gave."""
        return self._last

    def give(self, anchor: str, anchor_id: str) -> None:
        """See the port."""
        self._post.send(anchor.encode(), anchor_id)
        self._last = anchor

    def read(self) -> None:
        """See the port."""
        return

    def read_stamp(self, anchor: str) -> None:
        """See the port."""
        return
