"""A wall clock that is moved under a running program, by a library that is preloaded into it."""

from __future__ import annotations

import os
import struct
import subprocess
from datetime import timedelta
from pathlib import Path

from tests.support.programs import need

_SOURCE = Path(__file__).with_suffix(".c")


class MovedWallClock:
    """The wall clock of the programs that are started with `environment`. Skips the test without a C compiler."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "moved-clock", folder / "moved_clock.so"
        compiler = need("cc", "gcc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SOURCE], check=True)
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(self._file)}

    def move(self, ahead: timedelta) -> None:
        """Let it be ahead of the true time by so much, at once; nothing puts it right again."""
        file = os.open(self._file, os.O_WRONLY)
        os.pwrite(file, struct.pack("=q", ahead // timedelta(seconds=1)), 0)
        os.close(file)
