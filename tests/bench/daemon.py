"""A running daemon: rotating and revoking many PATs at once beside the bare sequence, and what it takes when idle."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.job_run import JobName, JobRun
from tests.bench.bare import BareRun
from tests.bench.rotating import OTHER_USER, PARALLEL, RotationTiming
from tests.bench.stage import Stage, open_stage, read_cpu
from tests.support.postgres import PostgresServer

_OVERLAP = 45
"""Seconds: longer than rotating all takes."""
_PATIENCE = 600.0
_ONCE_AT_THE_START = (JobName.RECONCILE, JobName.REFRESH, JobName.PROBE, JobName.VERIFY_AUDIT)
_AT_SERVICES = (JobName.RECONCILE, JobName.REFRESH, JobName.PROBE)
_HOUR = 3600.0
_FASTER = {
    "work": "5s",
    "refresh": "75s",
    "reconcile": "5m",
    "probe": "2h",
    "verify_audit": "2h",
    "heartbeat": "3s",
}
"""Twelve times as often as by default."""
_TIMES = 12
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
_IMPORT_ALL = """
import importlib, sys
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(open("/proc/self/statm").read().split()[1])
"""


@dataclass(frozen=True)
class IdleDaemon:
    """A daemon that has nothing to rotate: KiB of memory, and those of the same imports alone; figures for an hour.

    `memory` is after it has talked to all services, whose connections and certificates it then holds.
    `cpu` and `wakeups` are at most those of an hour: what belongs to work and heartbeat is in them twice.
    """

    memory: int
    imports: int
    cpu: float
    wakeups: float


class RunningDaemon:
    """A daemon on a stage. `url` is its database."""

    def __init__(self, stage: Stage, process: subprocess.Popen[str], url: str) -> None:
        self._stage, self._process, self._url = stage, process, url
        self.started_at = self.resumed_at = datetime.now(UTC)
        """When it was started, and when it last went on after it stood still."""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def await_start(self) -> None:
        """Return when it has done everything once."""
        self._wait(lambda: all(found and found.ended_at for found in map(self.find_last, _ONCE_AT_THE_START)))

    def await_services(self) -> None:
        """Return when it has itself done all that talks to the services."""

        def is_done(job: JobName) -> bool:
            found = self.find_last(job)
            return found is not None and found.began_at >= self.started_at and found.ended_at is not None

        self._wait(lambda: all(map(is_done, _AT_SERVICES)))

    def await_work(self, outcome: str, count: int) -> JobRun:
        """Return the run of work that did that to so many PATs."""

        def is_done() -> bool:
            found = self.find_last(JobName.WORK)
            return found is not None and found.counts.get(outcome) == count

        self._wait(is_done)
        found = self.find_last(JobName.WORK)
        assert found is not None
        return found

    def find_last(self, job: JobName) -> JobRun | None:
        """The newest run of a job."""
        database = SqlDatabase(self._url)
        try:
            with database.read() as reading:
                return reading.job_runs.find_last(job, reading.now())
        finally:
            database.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.resumed_at = datetime.now(UTC)
            self._process.send_signal(signal.SIGCONT)

    def _wait(self, is_so: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + _PATIENCE
        while not is_so():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"the daemon did not get so far: {self._stage.read_daemon_log()[-800:]}")
            time.sleep(0.1)


def measure_daemon_rotations(database: str, pats: int, latency: float) -> Iterator[RotationTiming]:
    """One tick that mints and stores all, and one that revokes all predecessors."""
    with ExitStack() as stack:
        stage = stack.enter_context(open_stage(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        url = f"sqlite:///{stage.directory / 'rotator.db'}"
        if database == "PostgreSQL":
            server = PostgresServer()
            stack.callback(server.stop)
            url = server.url(server.create_database())
            stage.use_database(url)
        stage.sign_in(overlap=_OVERLAP)
        managed, others = ([f"{kind}-{number:03}" for number in range(1, pats + 1)] for kind in ("managed", "bare"))
        stage.create_pats(managed, stage.addresses["username"])
        stage.create_pats(others, OTHER_USER)
        bare = BareRun(stage, others, OTHER_USER)
        daemon = stack.enter_context(_run(stage, url, {"work": "1s", "reconcile": "24h", "refresh": "24h"}))
        daemon.await_start()
        with daemon.held():
            stage.run("inventory", "adopt", *managed, "--yes")
            stage.slow_down(latency)
            stage.count_requests()
        yield _time(stage, daemon, database, bare, ("rotate", "rotated", pats))
        with daemon.held():
            time.sleep(_OVERLAP)
        yield _time(stage, daemon, database, bare, ("revoke", "retired", pats))


def _time(
    stage: Stage, daemon: RunningDaemon, database: str, bare: BareRun, wanted: tuple[str, str, int]
) -> RotationTiming:
    """Wait for the tick that does it, then send the same requests bare while the daemon stands still."""
    what, outcome, pats = wanted
    before, resumed_at = read_cpu(daemon.pid), daemon.resumed_at
    done = daemon.await_work(outcome, pats)
    spent = read_cpu(daemon.pid) - before
    assert done.ended_at is not None
    with daemon.held():
        counts = stage.count_requests()
        seconds = bare.measure(counts, PARALLEL)
        stage.count_requests()
    # It may have stood still in the middle of a tick, which then goes on with what is due.
    taken = (done.ended_at - max(done.began_at, resumed_at)).total_seconds()
    return RotationTiming(database, f"daemon: {what}", pats, taken, spent, seconds, counts)


def measure_idle_daemon(pats: int, seconds: float) -> IdleDaemon:
    """Watch one for so long while it does its jobs twelve times as often, and as long at its usual pace."""
    with ExitStack() as stack:
        stage = stack.enter_context(open_stage(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        url = f"sqlite:///{stage.directory / 'rotator.db'}"
        stage.sign_in()
        managed = [f"managed-{number:03}" for number in range(1, pats + 1)]
        stage.create_pats(managed, stage.addresses["username"])
        stage.run("inventory", "adopt", *managed, "--yes")
        for _ in range(2):
            stage.run("once")
            time.sleep(1.0)
        (quick_cpu, quick_wakeups), memory = _watch(stage, url, _FASTER, seconds)
        (cpu, wakeups), _ = _watch(stage, url, {}, seconds)
        usual, quick = _HOUR / seconds, _HOUR / seconds / _TIMES
        imports = _measure_imports(_IMPORTED.findall(stage.read_daemon_log()))
        return IdleDaemon(memory, imports, usual * cpu + quick * quick_cpu, usual * wakeups + quick * quick_wakeups)


def _watch(stage: Stage, url: str, settings: dict[str, str], seconds: float) -> tuple[tuple[float, int], int]:
    """What a daemon takes in that time once it is settled: CPU and wake-ups; and its memory at the end.

    Only one with quick jobs has then talked to all services: one that was started after others did not need to.
    """
    with _run(stage, url, settings) as daemon:
        daemon.await_start()
        time.sleep(10.0)
        cpu, wakeups = read_cpu(daemon.pid), _count_wakeups(daemon.pid)
        time.sleep(seconds)
        spent = read_cpu(daemon.pid) - cpu, _count_wakeups(daemon.pid) - wakeups
        if settings:
            daemon.await_services()
        return spent, _read_memory(daemon.pid)


@contextmanager
def _run(stage: Stage, url: str, settings: dict[str, str]) -> Iterator[RunningDaemon]:
    with stage.run_daemon(settings) as process:
        yield RunningDaemon(stage, process, url)


def _count_wakeups(pid: int) -> int:
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    texts = [(task / "status").read_text(encoding="utf-8") for task in tasks]
    return sum(int(found) for text in texts for found in re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", text, re.M))


def _read_memory(pid: int) -> int:
    [found] = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found)


def _measure_imports(names: list[str]) -> int:
    """KiB of a process that imports the same and does nothing."""
    made = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return int(made.stdout) * 4
