"""The standard streams: a closed one gives its number to no file, and what cannot be written is an error in words."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TextIO, cast

import click

_MODES = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
"""What a closed stream becomes: empty input; an stdout that refuses each write, as a full one does; a silent stderr."""
_STDOUT = 1
_FULL = (errno.ENOSPC, errno.EDQUOT)


class OutputError(OSError):
    """A standard stream that cannot be written to: it is full, or was closed before the command began."""

    advice = "What the command did before stays done: `rotator status` and `rotator audit list` show it."
    """What else is said; a command may know better."""


class Output(io.TextIOWrapper):
    """An output stream that says so when it cannot be written to. What its encoding lacks is written out.

    Whoever reads a pipe and closes it has enough of it: what follows goes nowhere, and the command ends as it would.
    """

    is_needed = True
    """Whether what cannot be written is an error. Not what stderr says of work that is done: there, later lines try."""
    is_heard = True
    """Whether nobody who read it has closed it, as far as writing has shown."""

    def write(self, text: str, /) -> int:
        """Write text. OutputError when that fails."""
        with _naming_output(self):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written. OutputError when that fails."""
        with _naming_output(self):
            super().flush()


@contextmanager
def _naming_output(stream: Output) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        stream.is_heard = False
        _silence(stream)
    except OutputError:
        raise
    except OSError as error:
        if stream.is_needed:
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
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        prepared = _prepare(before)
        setattr(sys, name, prepared)
        if prepared is not before:
            # The standard library asks the original for the width of the terminal: it must not be a stream without one.
            setattr(sys, f"__{name}__", prepared)


def _prepare(stream: TextIO) -> TextIO:
    """Escape characters that the terminal's encoding lacks, so that no name makes a write fail."""
    if type(stream) is not io.TextIOWrapper:
        return stream
    encoding, is_by_line = stream.encoding, stream.line_buffering or stream.write_through
    raw = stream.detach()
    # With PYTHONUNBUFFERED it is a raw one: of output, that loses without a word what a full place does not take.
    is_output = isinstance(raw, io.RawIOBase) and raw.fileno() == _STDOUT
    buffer = io.BufferedWriter(cast(io.RawIOBase, raw)) if is_output else raw
    output = Output(buffer, encoding=encoding, errors="backslashreplace", line_buffering=is_by_line)
    output.is_needed = output.fileno() == _STDOUT
    return output


def is_heard(stream: IO[str]) -> bool:
    """Whether somebody may still read what is written to this stream; asked before a wait, without writing."""
    if isinstance(stream, Output) and not stream.is_heard:
        return False
    watch = select.poll()
    watch.register(stream.fileno(), 0)
    return not any(events & select.POLLERR for _, events in watch.poll(0))


def report_unwritten(error: OutputError) -> None:
    """Say that output could not be written, where that can still be said; what is left of it goes nowhere."""
    why, fix = error.strerror, "Send it somewhere else."
    if error.errno == errno.EBADF:
        why, fix = "stdout is not open for writing", "Send it to a file, or to /dev/null."
    elif error.errno in _FULL:
        fix = "Free space where it goes, or send it somewhere else."
    click.echo(f"error: the output could not be written: {why}\nfix: {fix} {error.advice}", err=True)
    _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Send what is left in a stream, and all that follows, nowhere: the interpreter's end flushes it once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()
