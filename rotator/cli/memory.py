"""The memory of this process: kept from the disk and from other processes of its user, seldom searched, left whole."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import resource
import sys
from contextlib import suppress

_SET_DUMPABLE = 4
_ARENA_MAX = -8
_HEAPS = 2
_NEW_OBJECTS = 200_000
"""After how many more objects a command looks for cycles that nobody uses."""
_USUAL = gc.get_threshold()


def keep_memory_private() -> None:
    """Write no core dump, and let nobody but root read this memory: it holds PATs and tokens.

    Programs that this one starts are not bound by the second. OSError when the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def collect_seldom() -> None:
    """Look for cycles of unused objects less often.

    What a command reads lives to its end, and each look goes through all of it.
    """
    gc.set_threshold(_NEW_OBJECTS)


class QuickEnd:
    """Ends this process with `code` when all that is to be done at its end was done; None: as Python does by itself.

    What was loaded is not taken apart one by one, which takes as long as a look at thousands of PATs. What was written
    must have been flushed.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        atexit.register(self)  # what is registered first is called last

    def __call__(self) -> None:
        if self.code is not None:
            os._exit(self.code)


def stay_small() -> None:
    """Look for unused objects as often as Python does by itself, and let all threads share their heaps.

    A process that stays must not grow by either: glibc gives each thread a heap of its own, of 1 MB and more.
    """
    gc.set_threshold(*_USUAL)
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _HEAPS)
