"""Runs a program in a process group of its own, for a limited time; nothing of the group is left when it is over."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rotator.adapters.children import start_child
from rotator.ports.clock import BootClock
from rotator.ports.stop import Stop

MOST_OUTPUT = 64 * 1024
"""So many bytes of what it prints are kept: the last."""
GRACE = timedelta(seconds=5)
"""How long the group has to end by itself after SIGTERM."""
_PAUSE, _LONGEST_PAUSE = 0.01, 0.2
_CHUNK = 64 * 1024
_LOOK_EVERY = 50


@dataclass(frozen=True)
class ChildEnd:
    """How it ended: its exit code, negative for a signal; None when it took too long and was ended.

    `runs_on`: it took too long and could not be ended, because it is another user's, as a program of sudo is.
    """

    exit_code: int | None
    output: str
    runs_on: bool = False


class ChildGroups:
    """Runs programs. At a stop the program's group is ended, and StoppedError is raised."""

    def __init__(self, boot: BootClock, stop: Stop) -> None:
        self._boot, self._stop = boot, stop

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        question: bytes,
        timeout: timedelta,
    ) -> ChildEnd:
        """Run it with `question` on its stdin, and keep what it prints, errors too. OSError if it cannot be started.

        What it leaves behind in its group is killed as soon as it has ended.
        """
        # In memory: a full or read-only disk keeps nobody from being called, and nothing of it is left anywhere.
        with os.fdopen(os.memfd_create("question"), "r+b") as stdin:
            stdin.write(question)
            stdin.seek(0)
            child = start_child(
                arguments,
                environment,
                folder=folder,
                stdin=stdin.fileno(),
                stderr=subprocess.STDOUT,
                own_group=True,
            )
        output = _Output(child)
        try:
            has_ended = self._await_end(child.pid, timeout, self._stop.wait)
        finally:
            is_over = self._end(child.pid)
            output.end()
            if is_over:
                child.wait()
            else:
                threading.Thread(target=child.wait, daemon=True).start()
        return ChildEnd(child.returncode if has_ended else None, output.read(), runs_on=not is_over)

    def _end(self, pid: int) -> bool:
        """End all of the group, and return whether its leader has ended.

        That is not reaped yet, so nothing else can have the number of the group.
        """
        try:
            if not self._has_ended(pid):
                os.killpg(pid, signal.SIGTERM)
                self._await_end(pid, GRACE, time.sleep)
            os.killpg(pid, signal.SIGKILL)
        except PermissionError:
            return self._has_ended(pid)  # all that is left of the group is another user's, as with sudo
        return self._await_end(pid, GRACE, time.sleep)

    def _await_end(self, pid: int, span: timedelta, wait: Callable[[float], None]) -> bool:
        """Whether the program ends within that time."""
        began, pause = self._boot.read_boot().elapsed, _PAUSE
        while not self._has_ended(pid):
            if self._boot.read_boot().elapsed - began >= span:
                return False
            wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def _has_ended(self, pid: int) -> bool:
        """Whether it has ended. It is looked at, and not reaped."""
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Output:
    """Reads what a program prints while it runs, and keeps the end of it."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        if child.stdout is None:
            raise AssertionError("the program was started without a pipe for its output")
        self._pipe, self._number, self._kept = child.stdout, child.stdout.fileno(), bytearray()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="hook-output", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        poll, left = select.poll(), MOST_OUTPUT
        poll.register(self._number, select.POLLIN)
        while left > 0:
            if poll.poll(_LOOK_EVERY):
                chunk = os.read(self._number, _CHUNK)
                if not chunk:
                    return
                self._kept += chunk
                del self._kept[:-MOST_OUTPUT]
                left -= len(chunk) if self._ended.is_set() else 0
            elif self._ended.is_set():
                return

    def end(self) -> None:
        """Read what is there and no more: a program that left the group may hold the pipe open."""
        self._ended.set()
        self._thread.join()
        self._pipe.close()

    def read(self) -> str:
        """Return what was kept."""
        return self._kept.decode(errors="replace")
