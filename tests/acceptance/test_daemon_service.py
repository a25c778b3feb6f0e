"""The daemon as a service: what it tells its service manager, and how it outlives a database that is away."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import RunningDaemon, start_daemon, write_section, write_settings
from tests.support.killing import MUTATING, Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.programs import need


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Prepare a stage with one PAT that is due."""
    with open_stage(tmp_path / "stage") as stage:
        stage.reset(lease="1h")
        yield stage


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


class Manager:
    """What a service manager hears of a daemon."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self.heard: list[str] = []

    def has_heard(self, line: str, count: int = 1) -> bool:
        """Whether so many messages had that line until now."""
        while True:
            try:
                self.heard.append(self._receiver.recv(1000).decode())
            except BlockingIOError:
                break
        return sum(line in message.splitlines() for message in self.heard) >= count

    def has_heard_failing(self, *jobs: str) -> bool:
        """Whether a message said until now that these jobs fail, whichever others do too."""
        self.has_heard("READY=1")
        told = [line.split() for message in self.heard for line in message.splitlines() if "STATUS=Degraded:" in line]
        return any(set(jobs) <= {word.rstrip(",") for word in words} for words in told)


def test_service_manager_hears_how_the_daemon_is(stage: Stage, manager: socket.socket) -> None:
    """It is ready, gives proof of life again and again, reloads, stops. No child could speak for it."""
    address = manager.getsockname()
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
    daemon, listening = start_daemon(stage, environment, work="2s", heartbeat="2s"), Manager(manager)
    daemon.wait_until(lambda: listening.has_heard("READY=1"))
    daemon.wait_until(lambda: listening.has_heard("WATCHDOG=1", 3))
    daemon.send(signal.SIGHUP)
    daemon.wait_until(lambda: listening.has_heard("RELOADING=1"))
    daemon.wait_until(lambda: listening.has_heard("READY=1", 2))
    assert daemon.stop() == 0
    assert listening.has_heard("STOPPING=1")
    assert listening.heard[0].splitlines()[0] == "STATUS=Starting"
    assert next(message for message in listening.heard if "STATUS=Starting" not in message).splitlines()[0] == "READY=1"
    reloading = next(message for message in listening.heard if message.startswith("RELOADING=1"))
    assert "MONOTONIC_USEC=" in reloading


def test_memory_of_the_daemon_can_be_read_by_nobody_but_root(stage: Stage, manager: socket.socket) -> None:
    """It is fed to no core dump either; what the daemon says to its service manager and to status stays the same."""
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "60000000"}
    through = make_ordinary()
    daemon, listening = start_daemon(stage, environment, through=through, work="2s"), Manager(manager)
    daemon.wait_until(lambda: listening.has_heard("WATCHDOG=1"))
    process = daemon.run.process.pid
    with subprocess.Popen([*through, "sleep", "60"]) as other:
        assert read_memory(other.pid, through) == ""
        other.kill()
    assert "Permission denied" in read_memory(process, through)
    assert resource.prlimit(process, resource.RLIMIT_CORE) == (0, 0)
    second = stage.start("daemon")
    assert second.wait() == 11
    assert f"process {process} on " in second.read()
    assert daemon.stop() == 0


def make_ordinary() -> list[str]:
    """A program before a command that takes the right from root to look into any process."""
    if os.geteuid() != 0:
        return []
    return [need("setpriv", "util-linux"), "--bounding-set=-sys_ptrace"]


def read_memory(process: int, through: list[str]) -> str:
    """What is said when another process of the same user opens the memory of this one; nothing when it may."""
    opened = [*through, sys.executable, "-c", f"open('/proc/{process}/mem', 'rb')"]
    return subprocess.run(opened, capture_output=True, text=True, check=False).stderr


MISSING = {
    "a key": (("token-cache.key", "gone.key"), "gone.key"),
    "a credential": (("{file: token-cache.key}", "{credential: cache-key}"), "cache-key"),
    "the policy": (("policy.yaml", "gone.yaml"), "gone.yaml"),
}


@pytest.mark.parametrize(("words", "named"), MISSING.values(), ids=MISSING)
def test_service_manager_hears_why_the_daemon_does_not_start(
    stage: Stage, manager: socket.socket, words: tuple[str, str], named: str
) -> None:
    path = stage.sandbox.addresses.config_path
    before = path.read_text(encoding="utf-8")
    assert words[0] in before
    path.write_text(before.replace(*words), encoding="utf-8")
    run = stage.start("daemon", environment={"NOTIFY_SOCKET": manager.getsockname()})
    assert run.wait() == 2
    starting, *_, told = [message for message in hear_all(manager) if message.startswith("STATUS=")]
    assert starting.splitlines()[0] == "STATUS=Starting"
    assert named in told
    assert named in run.errors.read_text(encoding="utf-8")


def test_service_manager_gives_an_upgrade_of_the_database_more_time(stage: Stage, manager: socket.socket) -> None:
    run = stage.start("db", "upgrade", environment={"NOTIFY_SOCKET": manager.getsockname()})
    assert run.wait() == 0, run.read()
    assert any("EXTEND_TIMEOUT_USEC=" in message for message in hear_all(manager))


def test_daemon_waits_for_its_port_while_another_program_has_it(stage: Stage, manager: socket.socket) -> None:
    listening = Manager(manager)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        write_settings(stage)
        write_section(stage, "listen", address)
        run = stage.start("daemon", environment={"NOTIFY_SOCKET": manager.getsockname()})
        daemon = RunningDaemon(stage, run)
        daemon.wait_until(lambda: listening.has_heard(f"STATUS=Waiting for {address}"))
        daemon.wait_for("listener_delayed")
        [told] = [line for line in daemon.read_log() if line["event"] == "listener_delayed"]
        assert told["level"] == "warning"
        assert told["message"] == f"cannot listen on {address} yet (Address already in use); trying for 30 s"
        assert "daemon_started" not in daemon.list_events()
    daemon.wait_for("daemon_started")
    assert daemon.stop() == 0


def hear_all(manager: socket.socket) -> list[str]:
    """Every message so far."""
    listening = Manager(manager)
    listening.has_heard("")
    return listening.heard


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own, which may be halted."""
    server = PostgresServer()
    yield server
    server.stop()


def test_daemon_outlives_a_database_that_is_away_and_changes_nothing_meanwhile(
    tmp_path: Path, server: PostgresServer
) -> None:
    """It starts while the database is away, too, and works as soon as it is back."""
    with open_stage(tmp_path / "stage", server) as stage:
        stage.reset(lease="1h")
        server.halt()
        daemon = start_daemon(stage, work="1s", heartbeat="1s")
        daemon.wait_for("job_failed", 2)
        server.resume()
        daemon.wait_until(lambda: "rotation_completed" in daemon.list_events())
        daemon.wait_for("job_restored")
        count = len(stage.world.record.all())
        server.halt()
        failed = daemon.list_events().count("job_failed")
        daemon.wait_for("job_failed", failed + 2)
        assert [entry for entry in stage.world.record.all()[count:] if is_change(entry.service, entry.method)] == []
        restored = daemon.list_events().count("job_restored")
        server.resume()
        daemon.wait_for("job_restored", restored + 1)
        check_failures(daemon)
        assert daemon.stop() == 0
        stage.check_end()


def test_stop_while_the_database_is_away_is_not_called_a_crash_by_the_next_daemon(stage: Stage, tmp_path: Path) -> None:
    first = start_daemon(stage, work="1s", heartbeat="1s")
    first.wait_for("pat_revoked")
    first.wait_until(lambda: read_heartbeats(stage) == 1)
    moved = move_database(stage.folder, tmp_path)
    first.wait_for("job_failed")
    assert first.stop() == 0
    for path in moved:
        path.rename(stage.folder / path.name)
    second = start_daemon(stage, work="1s", heartbeat="1s")
    second.wait_until(lambda: read_heartbeats(stage) == 2)
    assert second.stop() == 0
    assert "daemon_crashed" not in stage.find_events()


def read_heartbeats(stage: Stage) -> int:
    """How many daemons the database knows."""
    return len(stage.find_job_runs("heartbeat"))


def move_database(folder: Path, to: Path) -> list[Path]:
    """Move the database away, with the files beside it; return where they are now."""
    found = [folder / name for name in ("rotator.db", "rotator.db-wal", "rotator.db-shm")]
    return [path.rename(to / path.name) for path in found if path.exists()]


def is_change(service: str, method: str) -> bool:
    """Whether a request like this changes something."""
    return service != "entra" and method in MUTATING


def check_failures(daemon: RunningDaemon) -> None:
    """Every failure is the database's, and no secret is in what is said of it."""
    codes = {line["code"] for line in daemon.read_log() if line["event"] == "job_failed"}
    assert codes <= {"database_unreachable", "database_locked"}, json.dumps(sorted(codes))


def test_daemon_changes_nothing_while_its_disk_is_full_and_works_afterwards(
    stage: Stage, manager: socket.socket
) -> None:
    """The kernel lets no file of the process grow beyond the limit, as on a disk without space."""
    stage.postpone("azure_devops", "GET", "/connectionData")
    listening, environment = Manager(manager), {"NOTIFY_SOCKET": manager.getsockname()}
    daemon = start_daemon(stage, environment, work="1s", heartbeat="1s")
    daemon.wait_until(stage.faults.struck.is_set)
    grown = (stage.folder / "rotator.db-wal").stat().st_size
    resource.prlimit(daemon.run.process.pid, resource.RLIMIT_FSIZE, (grown, resource.RLIM_INFINITY))
    stage.faults.close()
    daemon.wait_for("job_failed", 3)
    daemon.wait_until(lambda: listening.has_heard_failing("heartbeat"))
    assert [entry for entry in stage.world.record.all() if is_change(entry.service, entry.method)] == []
    resource.prlimit(daemon.run.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    daemon.wait_for("rotation_completed")
    daemon.wait_for("pat_revoked")
    daemon.wait_until(lambda: listening.has_heard("STATUS=Working"))
    assert daemon.stop() == 0
    stage.check_end()
