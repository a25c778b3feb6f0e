"""The standard streams: a closed one gives its number to no file, and what cannot be written is an error in words."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

_MODES = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
"""What a closed stream becomes: empty input; an stdout that refuses each write, as a full one does; a silent stderr."""
_FIX = (
    "Free space where it goes, or send it somewhere else. What the command did before stays done: "
    "`rotator status` and `rotator audit list` show it."
)


class OutputError(OSError):
    """A standard stream that can no longer be written to. Whoever closes a pipe raises BrokenPipeError as ever."""


class Output(io.TextIOWrapper):
    """An output stream that says so when it cannot be written to. What its encoding lacks is written out."""

    def write(self, text: str, /) -> int:
        """Write text. OutputError when that fails."""
        with _naming_output():
            return super().write(text)

    def flush(self) -> None:
        """Send what was written. OutputError when that fails."""
        with _naming_output():
            super().flush()


@contextmanager
def _naming_output() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


def open_streams() -> None:
    """Open the standard streams that were closed, before another file takes their numbers; prepare those for output."""
    for number, (name, mode) in enumerate(_MODES.items()):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
            buffer = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8"))
    sys.stdout, sys.stderr = _prepare(sys.stdout), _prepare(sys.stderr)


def _prepare(stream: TextIO) -> TextIO:
    """Escape characters that the terminal's encoding lacks, so that no name makes a write fail."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    encoding, is_by_line = stream.encoding, stream.line_buffering
    return Output(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=is_by_line)


def report_unwritten(error: OutputError) -> None:
    """Say that output could not be written, where that can still be said."""
    try:
        click.echo(f"error: the output could not be written: {error.strerror}\nfix: {_FIX}", err=True)
    except OutputError:
        _silence(sys.stderr)
    _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Send what is left in a stream, and all that follows, nowhere: the interpreter's end flushes it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()
