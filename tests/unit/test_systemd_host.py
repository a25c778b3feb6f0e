"""systemd's notification protocol, on a socket as systemd makes it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.systemd import SystemdHost

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket that is listened to, with its address as it stands in the environment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"@rotator-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
        receiver.bind("\0" + name[1:] if name.startswith("@") else name)
        receiver.settimeout(10)
        yield name, receiver


def test_host_hears_every_message_when_it_listens(listener: tuple[str, socket.socket]) -> None:
    address, receiver = listener
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    host = SystemdHost(environment)
    assert (environment, host.watchdog) == ({"A": "b"}, MINUTE)
    host.tell_ready("Working")
    host.tell_status("Working")  # the same line is not sent again
    host.tell_status("Degraded:\nREADY=1")
    host.tell_reloading()
    host.tell_alive()
    host.tell_stopping("Stopping", 2 * MINUTE)
    heard = [receiver.recv(1000).decode() for _ in range(5)]
    assert heard[:2] == ["READY=1\nSTATUS=Working", "STATUS=Degraded: READY=1"]
    [reloading, moment, _] = heard[2].splitlines()
    assert (reloading, moment.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert heard[3:] == ["WATCHDOG=1", "STOPPING=1\nSTATUS=Stopping\nEXTEND_TIMEOUT_USEC=120000000"]


def test_host_is_asked_for_more_time_while_something_takes_long(listener: tuple[str, socket.socket]) -> None:
    """Again and again, and not any more once it is over."""
    address, receiver = listener
    host = SystemdHost({"NOTIFY_SOCKET": address})
    with host.extending("Upgrading", timedelta(milliseconds=10)):
        heard = [receiver.recv(1000).decode() for _ in range(3)]
    assert heard == ["STATUS=Upgrading\nEXTEND_TIMEOUT_USEC=30000"] * 3
    host.tell_ready("Working")
    last = ""
    while "READY" not in last:
        last = receiver.recv(1000).decode()
    receiver.settimeout(0.1)
    with pytest.raises(TimeoutError):
        receiver.recv(1000)


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_host_is_told_nothing_when_nobody_listens(environment: dict[str, str]) -> None:
    host = SystemdHost(environment)
    host.tell_ready("Working")
    host.tell_alive()
    assert host.watchdog is None


def test_host_wants_no_proof_when_the_watchdog_is_another_process_s() -> None:
    assert SystemdHost({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}).watchdog is None
    assert SystemdHost({"WATCHDOG_USEC": "60000000"}).watchdog == MINUTE
