"""Tells a file from what merely has a path: reading a FIFO waits for ever, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """OSError when the path, or what it links to, is there and is no regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return  # opening it says so
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
