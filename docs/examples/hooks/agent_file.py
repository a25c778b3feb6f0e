"""Replaces a file of an agent, which reads it by its group, as a whole: a build never sees half of it."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

_MODE = 0o640


def find_file(path: Path) -> Path:
    """Return the file that it stands for, if this user may replace it without taking it from the agent."""
    path = path.resolve()
    if not os.access(path.parent, os.W_OK):
        sys.exit(f"{path.parent} does not exist, or this user may not write there")
    folder = path.parent.stat()
    if not folder.st_mode & stat.S_ISGID and folder.st_gid != os.getegid():
        sys.exit(f"the agent could not read {path}: chmod g+s {path.parent}, so that its files have its group")
    if path.exists() and path.stat().st_uid != os.geteuid():
        sys.exit(f"{path} belongs to another user. Give it to this one: chown {os.geteuid()} {path}")
    if path.exists() and path.stat().st_mode & stat.S_IRWXO:
        sys.exit(f"every user may open {path}: chmod 640 {path}")
    return path


def replace(path: Path, content: bytes) -> None:
    """Write it anew, for this user to write and the group to read."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
