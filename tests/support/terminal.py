"""Commands on a terminal of their own, whose end is a SIGHUP."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

_LEAD_A_SESSION = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
os.execv(sys.argv[1], sys.argv[1:])
"""


def start_on_terminal(
    arguments: Sequence[str | Path], environment: Mapping[str, str], folder: Path, columns: int = 80
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program that leads a session on a new terminal. Return it and our end of that, to be closed."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", _LEAD_A_SESSION, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
        cwd=folder,
    )
    os.close(theirs)
    return process, ours


def read_to_end(terminal: int) -> bytes:
    """Return all that the programs on a terminal still show, until the last of them has ended."""
    shown = b""
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:  # Linux's word for the end of a terminal
        return shown
    return shown
