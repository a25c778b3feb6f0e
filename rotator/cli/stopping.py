"""What a signal does to a command that does a run: the run stops cleanly, then the command ends."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import click

from rotator.cli.exit_codes import INTERRUPTED
from rotator.engine.context import RunMode
from rotator.engine.exit_codes import find_code_of_report
from rotator.errors import StoppedError

if TYPE_CHECKING:
    from rotator.engine.report import RunReport

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ECHO_SECONDS = 1.0
"""`timeout`, shells and service managers may send two signals for one stop. A person's second Ctrl-C always counts."""
_SHOW_CURSOR = b"\x1b[?25h\n"


class StopSignals:
    """The signals of one run. `first` is the number of the first one, None while there was none."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._first_at = 0.0
        # A handler interrupts its own thread anywhere. This queue is made for that; an event or a stream is not.
        self._arrived: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def receive(self, number: int, _: FrameType | None) -> None:
        """Handle a signal: pass the first one on, and end the process at the second."""
        if number == signal.SIGHUP:
            self._leave_terminal()
        if self.first is None:
            self.first, self._first_at = number, time.monotonic()
            self._arrived.put(number)
        elif number == signal.SIGINT or time.monotonic() - self._first_at > _ECHO_SECONDS:
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
            os._exit(128 + number)

    def wait(self) -> int | None:
        """Return the number of the first signal, or None after `end`."""
        return self._arrived.get()

    def end(self) -> None:
        """Release whoever waits."""
        self._arrived.put(None)

    def choose_exit_code(self, report: RunReport, mode: RunMode) -> int:
        """Return 130 when a person interrupted the run. After another signal, what was done counts.

        Work requested by hand that was not done is not a success: then the code is the signal's.
        """
        if self.first is not None and mode is not RunMode.DUE and report.is_stopped:
            return 128 + self.first
        return self.put_interruption_first(find_code_of_report(report, mode))

    def put_interruption_first(self, exit_code: int) -> int:
        """Return 130 when a person interrupted the command, else the exit code."""
        return INTERRUPTED if self.first == signal.SIGINT else exit_code

    def _leave_terminal(self) -> None:
        """Send output nowhere once the terminal is gone: every write to it fails, and that must not fail the run."""
        for stream in self._terminals:
            if not os.isatty(stream):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)


class Stoppable(Protocol):
    """The stop of a process."""

    def set(self) -> int:
        """Stop all work. Returns how many threads hold a value that they may still bring to the vault."""


def say_stop(number: int, finishing: int) -> None:
    """Say on stderr that a signal stops the run, and how many rotations it still finishes."""
    again = "; press Ctrl-C again to stop now" if number == signal.SIGINT else ""
    click.echo(_describe(finishing) + again, err=True)


@contextmanager
def stop_on_signals(
    stop: Stoppable, numbers: Sequence[int] = _SIGNALS, tell: Callable[[int, int], None] = say_stop
) -> Iterator[StopSignals]:
    """Inside, the first of these signals stops all work; a second one ends the process.

    `tell` is called once work is stopped, with the signal's number and how many rotations are still finished. A use
    case that was stopped ends the command. Signals that are ignored stay so. Without a stop the handlers are put back;
    after one they stay until the process ends, since the echo of a stop may come late.
    """
    signals = StopSignals()

    def watch() -> None:
        number = signals.wait()
        if number is not None:
            tell(number, stop.set())

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signals.receive) for number in handled}
    try:
        yield signals
    except StoppedError:
        number = signals.first or signal.SIGTERM
        click.echo("interrupted" if number == signal.SIGINT else "stopped", err=True)
        raise click.exceptions.Exit(128 + number) from None
    finally:
        if signals.first is None:
            for number, handler in before.items():
                signal.signal(number, handler)
        signals.end()
        watcher.join()
        sys.stderr.flush()


def _describe(finishing: int) -> str:
    if finishing == 0:
        return "stopping"
    return f"finishing {finishing} rotation{'' if finishing == 1 else 's'}"
