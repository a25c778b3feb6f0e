"""The watchdog: whichever thread of the running daemon stands still, the service manager hears of no life."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import RunningDaemon, start_daemon
from tests.support.frozen_thread import count_wakings, frozen
from tests.support.killing import Stage, open_stage
from tests.support.pages import Pages

WATCHDOG = 4.0
"""Seconds; the daemon speaks twice in that time."""
SILENCE = 3 * WATCHDOG
PATIENCE = 60.0
JOBS = ("work", "refresh", "reconcile", "probe", "verify_audit", "audit_reconcile", "heartbeat")
LEAST = 5 + len(JOBS)
"""The first thread, those of the pages, the scheduler, the deliveries and the hooks, and one for each other job."""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path_factory.mktemp("manager") / "notify"))
        yield receiver


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, manager: socket.socket) -> Iterator[RunningDaemon]:
    """A daemon that has rotated what was due, and does each of its jobs every second; it serves its pages too."""
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.reset(lease="1h")
        daemon = start_with_pages(stage, manager)
        daemon.wait_for("rotation_completed")
        yield daemon
        assert daemon.stop() == 0
        stage.end()


def start_with_pages(stage: Stage, manager: socket.socket) -> RunningDaemon:
    """Start it as a service manager does."""
    path = stage.sandbox.addresses.config_path
    path.write_text(f"{path.read_text(encoding='utf-8')}\nlisten: {Pages().address}\n", encoding="utf-8")
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
    return start_daemon(stage, environment, **dict.fromkeys(JOBS, "1s"))


def is_silent(manager: socket.socket, seconds: float) -> bool:
    """Whether nothing says for so long that the daemon lives."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        manager.settimeout(left)
        try:
            if "WATCHDOG=1" in manager.recv(1000).decode().splitlines():
                return False
        except TimeoutError:
            break
    return True


def falls_silent(manager: socket.socket) -> bool:
    """Whether that comes to be so. What was sent before is heard first."""
    ends_at = time.monotonic() + PATIENCE
    while time.monotonic() < ends_at:
        if is_silent(manager, SILENCE):
            return True
    return False


def speaks(manager: socket.socket) -> bool:
    """Whether it says soon, twice, that it lives."""
    return not is_silent(manager, PATIENCE) and not is_silent(manager, PATIENCE)


def list_working(daemon: RunningDaemon, manager: socket.socket) -> list[int]:
    """The threads that are there for a while, and did something meanwhile.

    The one that waits for a signal to stop does nothing, and is not missed.
    """
    process = daemon.run.process.pid
    first, working = dict[int, int](), list[int]()
    for _ in range(60):
        assert not is_silent(manager, PATIENCE)
        now = count_wakings(process)
        working = [thread for thread, count in now.items() if count > first.setdefault(thread, count)]
        if len(working) >= LEAST:
            break
    return working


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "every", [pytest.param(False, id="one", marks=pytest.mark.sample), pytest.param(True, id="all")]
)
def test_daemon_is_silent_while_any_of_its_threads_stands_still(
    daemon: RunningDaemon, manager: socket.socket, *, every: bool
) -> None:
    """And speaks again when it goes on. The threads are those that the running process has."""
    threads = list_working(daemon, manager)
    assert len(threads) >= LEAST
    for thread in threads if every else threads[-1:]:
        assert is_missed(thread, manager), f"thread {threads.index(thread)} of {len(threads)} is not missed"
        assert speaks(manager), f"after thread {threads.index(thread)} went on"


def is_missed(thread: int, manager: socket.socket) -> bool:
    """Whether there is silence while it stands still. In the middle of a run it has its job's budget: try again."""
    for _ in range(5):
        with frozen(thread):
            if falls_silent(manager):
                return True
        assert speaks(manager)
    return False
