"""Keeps the memory of this process from the disk, and from other processes of its user."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Write no core dump, and let nobody but root read this memory: it holds PATs and tokens.

    Programs that this one starts are not bound by the second. OSError when the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
