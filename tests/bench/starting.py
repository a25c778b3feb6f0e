"""How long the command takes to say its help, beside an interpreter that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.stage import COMMAND, make_environment

_BARE_CLICK = "import click\n@click.group()\ndef main(): pass\nmain(['--help'])"


@dataclass(frozen=True)
class StartTiming:
    """Seconds of one command over all repetitions."""

    command: str
    best: float
    median: float


def measure_starts(times: int) -> list[StartTiming]:
    """Both commands by turns, so that a busy moment of the machine meets both."""
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bare click --help": [sys.executable, "-c", _BARE_CLICK],
        "rotator --help": [COMMAND, "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(
                command, env=make_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
            )
            taken[name].append(time.perf_counter() - start)
    return [StartTiming(name, min(seconds), statistics.median(seconds)) for name, seconds in taken.items()]
