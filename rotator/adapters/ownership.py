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


def make_file(path: Path, mode: int, guide: Path) -> int:
    """Make a file, open for reading and writing, for the owner of the one at `guide`, or of its folder.

    FileExistsError when there is something at `path`, also a link that leads nowhere; OSError otherwise.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        hand_over(descriptor, guide)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_lock(path: Path, guarded: Path) -> int:
    """Open the file of a lock, for its owner alone; make it, for the owner of what it guards. OSError otherwise."""
    try:
        return make_file(path, 0o600, guarded)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def make_folder(path: Path) -> None:
    """Make a folder with all above it that are missing, each for the owner of the one that it is in."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
