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
