"""Where an export goes: to stdout or into a private file."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

import click

from rotator.errors import UsageError


class NamedPath(click.Path):
    """A path on the command line. An empty one, as of a variable that is not set, does not mean the current folder."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path; an error of the user where it is empty."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


def check_free(path: Path, *, force: bool) -> None:
    """Raise UsageError if a file exists, and nobody said with `force` that it may be overwritten."""
    if not force and is_file(path):
        raise UsageError(f"{path} exists", code="output", fix="Choose another file, or overwrite it with --force.")


def is_file(path: Path) -> bool:
    """Whether there is a file. Where the path cannot be reached, there is none as far as this user can see."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def opened(path: Path | None, *, force: bool, grows: bool = False) -> Iterator[IO[str]]:
    """A stream to stdout, or to a file that its owner alone may read, whatever its mode was; as `opened_whole`.

    `grows`: others read the file while it is written.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if grows:
        with opened_raw(path, force=force) as raw:
            yield cast("IO[str]", GrowingFile(raw.fileno()))
        return
    with opened_whole(path, force=force) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as stream:
        yield stream


class GrowingFile(io.TextIOBase):
    """A file that others read, and empty, while it grows: each text is written at its end, whole or not at all."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self._number

    def write(self, text: str, /) -> int:
        """Write a text. OSError where it does not fit."""
        size, left = os.fstat(self._number).st_size, memoryview(text.encode())
        try:
            while left:
                left = left[os.write(self._number, left) :]
        except OSError:
            with suppress(OSError):  # a pipe gives nothing back
                os.ftruncate(self._number, size)
            raise
        return len(text)


@contextmanager
def opened_raw(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A stream of bytes to a file, which is there from the beginning. What is no file, such as a pipe, is written to.

    UsageError when it cannot be written, or exists and nobody said with `force` that it may be overwritten.
    """
    check_free(path, force=force)
    try:
        # Without `force` a file that appears meanwhile is not overwritten either.
        once = 0 if force or path.exists() else os.O_EXCL
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | once, 0o600)
        with os.fdopen(number, "wb") as stream:
            if stat.S_ISREG(os.fstat(number).st_mode):
                os.fchmod(number, 0o600)
            yield stream
    except OSError as error:
        raise _make_unwritable(path, error) from error


@contextmanager
def opened_whole(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Do as `opened_raw`, but the file has its name only when all of it is on the disk: until then the old one has it.

    A process that is killed leaves a file of another name at most.
    """
    check_free(path, force=force)
    if _is_special(path):
        with opened_raw(path, force=force) as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    fresh: Path | None = None
    try:
        with suppress(FileNotFoundError):
            target.lstat()  # a name that no file can have is told before the work, not after it
        number, name = tempfile.mkstemp(prefix=".rotator-", suffix=".partial", dir=target.parent)
        fresh = Path(name)
        with os.fdopen(number, "wb") as stream:
            yield stream
        _sync(fresh)  # whoever wrote into it may have closed it
        _put(fresh, target, force=force)
    except OSError as error:
        raise _make_unwritable(path, error) from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def _put(fresh: Path, target: Path, *, force: bool) -> None:
    """Give a file its name; FileExistsError if there is one meanwhile that must not be overwritten."""
    if force:
        fresh.replace(target)
        return
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(target) from None
        fresh.replace(target)


def _is_special(path: Path) -> bool:
    """Whether there is something that is no file: a pipe, a device, a folder."""
    try:
        return path.exists() and not path.is_file()
    except OSError:
        return False


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _make_unwritable(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileExistsError):
        fix = "Choose another file, or overwrite it with --force."
        return UsageError(f"{path} exists", code="output", fix=fix)
    return UsageError(f"{path} cannot be written: {error.strerror}", code="output", fix="Choose another file.")
