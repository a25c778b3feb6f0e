"""Processes that are forked from one that has no threads and no connection, and has our modules loaded.

A cold start of the command takes most of a second, nearly all of it imports. What runs to its end many times in the
tests is forked here instead; how the installed command starts, is signalled, frozen and killed is tested on that.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.support import dying_command

NURSERY = get_context("forkserver")
NURSERY.set_forkserver_preload(["tests.simulation.replica", "tests.support.loaded_command"])


@dataclass(frozen=True)
class Orders:
    """What a forked command is given. `stdin` is what it reads.

    `death` is the commit at which it gives itself a `blow`, of those that write to `table` where one is named.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    stdin: str
    stdout: str
    stderr: str
    death: tuple[str, int] | None
    table: str | None
    blow: signal.Signals


class ForkedCommand:
    """The `rotator` command in a process of its own, with the methods of `subprocess.Popen` that the tests use.

    `stdout` and `stderr` are files, or pipes with a name. `environment` is all that it has.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdout: Path,
        stderr: Path,
        stdin: Path | None = None,
        death: tuple[str, int] | None = None,
        table: str | None = None,
        blow: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.args = tuple(str(argument) for argument in arguments)
        streams = str(stdin or os.devnull), str(stdout), str(stderr)
        orders = Orders(self.args, dict(environment), str(folder), *streams, death, table, blow)
        self._process = NURSERY.Process(target=_live, args=(orders,))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Return its exit code when it has ended; subprocess.TimeoutExpired after so many seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it with SIGKILL if it still runs."""
        self._process.kill()


def _live(orders: Orders) -> None:
    from tests.support.loaded_command import main  # loaded in the nursery, and in no other process

    os.environ.clear()
    os.environ.update(orders.environment)
    os.chdir(orders.folder)
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path in enumerate((orders.stdin, orders.stdout, orders.stderr)):
        descriptor = os.open(path, os.O_RDONLY if number == 0 else new, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", line_buffering=True)
    sys.argv = ["rotator", *orders.arguments]
    if orders.death is not None:
        sys.exit(dying_command.run(*orders.death, orders.arguments, orders.table, orders.blow))
    sys.exit(main(orders.arguments))
