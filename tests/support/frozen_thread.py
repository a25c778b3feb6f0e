"""Freezes one thread of another process, as a debugger does: the other threads of it run on."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_DETACH, _SEIZE, _INTERRUPT = 17, 0x4206, 0x4207
_WALL = 0x40000000
"""Wait for threads too."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def count_wakings(process: int) -> dict[int, int]:
    """Return how often each thread that a process has now has gone to sleep so far, its first thread first."""
    found = {}
    for entry in sorted(Path(f"/proc/{process}/task").iterdir(), key=lambda entry: int(entry.name)):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            lines = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines())
            found[int(entry.name)] = int(lines["voluntary_ctxt_switches"])
    return found


@contextmanager
def frozen(thread: int) -> Iterator[None]:
    """Inside, this thread stands still. Skips the test where this user may not trace a process of his own."""
    if _trace(_SEIZE, thread) != 0:
        if ctypes.get_errno() == errno.EPERM:
            pytest.skip("ptrace is forbidden here (kernel.yama.ptrace_scope, or no CAP_SYS_PTRACE)")
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        assert _trace(_INTERRUPT, thread) == 0
        _, status = os.waitpid(thread, _WALL)
        assert os.WIFSTOPPED(status)
        yield
    finally:
        assert _trace(_DETACH, thread) == 0


def _trace(request: int, thread: int) -> int:
    ctypes.set_errno(0)
    answer: int = _LIBC.ptrace(request, thread, None, None)
    return answer
