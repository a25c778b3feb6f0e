"""Who claims, and whether that process still exists: on the same host, a killed run is taken over immediately."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

_PROC = Path("/proc")
_UNKNOWN = "unknown"
_START_TIME = 19
"""Where /proc/PID/stat has the process's start, counted from after the command's closing parenthesis."""


def make_claimant(run_id: str) -> str:
    """Return the claimant of a run: the run's id, the host, the process id, and when that process started."""
    pid = os.getpid()
    return f"{run_id}@{_identify_host()}#{pid}.{_read_start(pid) or 0}"


def is_gone(claimant: str, *, proc: Path = _PROC) -> bool:
    """Return whether the process behind a claim has certainly ended.

    Only a process of this boot and of this process namespace can be judged; any other claim has to expire.
    A process that is merely stopped is not gone, nor is one that /proc hides from us.
    """
    try:
        _, place = claimant.rsplit("@", 1)
        host, process = place.split("#", 1)
        pid, start = (int(part) for part in process.split(".", 1))
    except ValueError:
        return False
    if start == 0 or host == _UNKNOWN or host != _identify_host(proc):
        return False
    found = _read_start(pid, proc)
    return found != start if found is not None else not _exists(pid)


def _identify_host(proc: Path = _PROC) -> str:
    """Return a digest of this boot, this process namespace and this host's name; containers differ from one another."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        namespace = str((proc / "self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN
    return hashlib.sha256(f"{boot} {namespace} {socket.gethostname()}".encode()).hexdigest()[:16]


def _exists(pid: int) -> bool:
    """Return whether there is such a process. A signal tells even where /proc hides the processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_start(pid: int, proc: Path = _PROC) -> int | None:
    """Return when a process started, in clock ticks since boot; 0 for one that has ended; None if it cannot be seen."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rsplit(")", 1)[-1].split()
    return 0 if fields[0] in {"Z", "X"} else int(fields[_START_TIME])
