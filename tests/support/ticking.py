"""The daemon's jobs again and again, without pauses, on real sockets: what the process holds meanwhile.

Run as a program, so that nothing else is in the process: `python -m tests.support.ticking SETTINGS TICKS TIMES`
measures TIMES times in so many ticks, at equal distances, and prints a JSON list. Each tick is what the daemon does in
a minute at most: heartbeat, work and deliveries, and by turns a look everywhere, a refresh and a probe of the values.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from rotator.adapters.logs import get_logger
from rotator.daemon.beats import Beats
from rotator.daemon.job import Workshop, Workshops
from rotator.daemon.jobs import Intervals, make_jobs
from rotator.daemon.worker import Worker
from rotator.domain.job_run import JobName
from rotator.engine.pulse import Pulse
from rotator.wiring.installation import Installation
from rotator.wiring.logs import LogOptions, start_logs
from rotator.wiring.origin import Origin

_OFTEN = (JobName.HEARTBEAT, JobName.WORK, JobName.DELIVER)
_BY_TURNS = (JobName.RECONCILE, JobName.REFRESH, JobName.PROBE)
_VERIFY_EVERY = 25
_SECOND = timedelta(seconds=1)
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Holding:
    """What a process holds: KiB of memory, objects that the garbage collector knows, threads, sockets, other files."""

    ticks: int
    memory: int
    objects: int
    threads: int
    sockets: int
    files: int


def measure_ticks(settings: Path, ticks: int, times: int) -> list[Holding]:
    """Do so many ticks in a process of its own, and return what it held at each measurement.

    It has one memory pool: which of several its threads take, and so how much lies idle in each, differs by run.
    """
    command = [sys.executable, "-m", "tests.support.ticking", str(settings), str(ticks), str(times)]
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, "MALLOC_ARENA_MAX": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return [Holding(**found) for found in json.loads(done.stdout)]


class Ticking:
    """A daemon without a clock: each job in its thread, one after the other."""

    def __init__(self, settings: Path, stack: ExitStack) -> None:
        installation = stack.enter_context(Installation(Origin(settings, os.environ, settings.parent)))
        self._database = installation.database
        pulse = Pulse("ticking", installation.clock.now())
        jobs = make_jobs(Intervals(*[_SECOND] * 6), pulse)
        shop = Workshop(jobs, installation.make_run, lambda: None, _SECOND)
        self._worker = Worker(Workshops(shop), Beats(installation.boot_clock), pulse.holder)
        self._threads = {job: stack.enter_context(ThreadPoolExecutor(1)) for job in jobs}

    def tick(self, number: int) -> None:
        """Do the jobs of one tick. RuntimeError when one failed: that it is told is not enough here."""
        jobs = [*_OFTEN, _BY_TURNS[number % len(_BY_TURNS)]]
        for job in (*jobs, *((JobName.VERIFY_AUDIT,) if number % _VERIFY_EVERY == 1 else ())):
            self._threads[job].submit(self._worker.do, job).result()
        if self._worker.failures:
            raise RuntimeError(f"tick {number}: {dict(self._worker.failures)}")

    def measure(self, ticks: int) -> Holding:
        """Measure this process between two ticks, without the connections that wait in the pool.

        How many those are depends on whether two threads ever wrote at once. One that nobody gave back still counts.
        """
        self._database.close()
        return measure(ticks)


def measure(ticks: int) -> Holding:
    """Measure this process, once the C library gave back the memory that it keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    kinds = Counter(_find_kind(entry) for entry in list(Path("/proc/self/fd").iterdir()))
    memory = pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return Holding(ticks, memory, len(gc.get_objects()), threading.active_count(), kinds["socket"], kinds["file"])


def _find_kind(entry: Path) -> str:
    try:
        return "socket" if str(entry.readlink()).startswith("socket:") else "file"
    except FileNotFoundError:  # the one by which they are listed
        return "gone"


def main() -> None:
    """Do the ticks, and print what was held."""
    start_logs(LogOptions(sys.stderr, "warning"))
    get_logger().warning("ticking")  # loads the library: a daemon's first line comes before its first tick
    settings, ticks, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    found = []
    with ExitStack() as stack:
        ticking = Ticking(settings, stack)
        for number in range(1, ticks + 1):
            ticking.tick(number)
            if number % (ticks // times) == 0:
                found.append(asdict(ticking.measure(number)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
