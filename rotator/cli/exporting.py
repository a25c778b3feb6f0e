"""Where an export goes: to stdout or into a private file."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

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
def opened(path: Path | None, *, force: bool) -> Iterator[IO[str]]:
    """A stream to stdout, or to a file that its owner alone may read, whatever its mode was.

    UsageError when the file cannot be written, or exists and nobody said with `force` that it may be overwritten. What
    is no file, such as a pipe, is written to.
    """
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with opened_raw(path, force=force) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as stream:
        yield stream


@contextmanager
def opened_raw(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A stream of bytes to a file, as `opened` gives one of text."""
    check_free(path, force=force)
    try:
        # Without `force` a file that appears meanwhile is not overwritten either.
        once = 0 if force or path.exists() else os.O_EXCL
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | once, 0o600)
        with os.fdopen(number, "wb") as stream:
            if stat.S_ISREG(os.fstat(number).st_mode):
                os.fchmod(number, 0o600)
            yield stream
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists", code="output", fix="Choose another file, or overwrite it with --force."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", code="output", fix="Choose another file."
        ) from error
