"""What a process that stays does about its memory."""

from __future__ import annotations

import subprocess
import sys

_THREADS = """
import ctypes, sys, threading
from rotator.cli.memory import stay_small
if sys.argv[1:]:
    stay_small()
meet, kept = threading.Barrier(9), []

def work():
    kept.append([bytes(2000) for _ in range(100)])
    meet.wait()
    meet.wait()

for _ in range(8):
    threading.Thread(target=work).start()
meet.wait()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
meet.wait()
"""


def count_heaps(*arguments: str) -> int:
    """How many heaps the C library has while eight threads hold memory."""
    done = subprocess.run(
        [sys.executable, "-c", _THREADS, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.count("<heap nr=")


def test_threads_of_a_process_that_stays_share_two_heaps() -> None:
    assert count_heaps() > 2
    assert count_heaps("stays") == 2
