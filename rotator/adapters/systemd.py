"""systemd's notification protocol, behind the port ServiceHost: a line or two to the socket that it names."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import timedelta

_MICROSECOND = timedelta(microseconds=1)
_EXTEND_EVERY = timedelta(seconds=20)


class SystemdHost:
    """Port ServiceHost. What it needs is taken out of the environment, so that no child process speaks for the daemon.

    A message that cannot be sent is dropped: the service manager notices silence by itself.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_ours = process in ("", str(os.getpid()))
        span = timedelta(microseconds=int(microseconds)) if is_ours and microseconds.isdecimal() else None
        self._watchdog = span or None
        self._status = ""

    @property
    def watchdog(self) -> timedelta | None:
        """See the port."""
        return self._watchdog

    @contextmanager
    def extending(self, status: str, every: timedelta = _EXTEND_EVERY) -> Iterator[None]:
        """Ask for more time again and again, for as long as what is inside takes, such as a migration."""
        if not self._address:
            yield
            return
        over = threading.Event()
        extend = (f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={3 * every // _MICROSECOND}")

        def ask() -> None:
            while not over.wait(every.total_seconds()):
                self._send(*extend)

        self._send(*extend)
        asking = threading.Thread(target=ask, name="extend-timeout", daemon=True)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()

    def tell_ready(self, status: str) -> None:
        """See the port."""
        self._status = status
        self._send("READY=1", f"STATUS={status}")

    def tell_reloading(self) -> None:
        """See the port."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=Reloading")

    def tell_stopping(self, status: str, within: timedelta) -> None:
        """See the port."""
        self._send("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={within // _MICROSECOND}")

    def tell_status(self, status: str) -> None:
        """See the port."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def tell_alive(self) -> None:
        """See the port."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
            except OSError:
                return
