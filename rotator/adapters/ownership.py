"""Keeps what root writes usable for the user who runs rotator otherwise.

A command that root runs once, with the service's settings, must not leave files that the service can no longer read.
"""

from __future__ import annotations

import os
from pathlib import Path


def hand_over(descriptor: int, path: Path) -> None:
    """Give a file that was just created to the owner of the one at `path`, or of its folder. Only root does anything.

    The file must be new: one that was there before may be a link to somebody else's.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = path.lstat()
    except FileNotFoundError:
        owner = path.parent.stat()
    os.fchown(descriptor, owner.st_uid, owner.st_gid)


def open_lock(path: Path, guarded: Path) -> int:
    """Open the file of a lock, for its owner alone; make it, for the owner of what it guards. OSError otherwise."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    try:
        hand_over(descriptor, guarded)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
