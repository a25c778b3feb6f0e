"""A deadline for everything that one thread does on sockets: connecting, sending and each read of an answer.

A socket's own timeout begins again with every byte that arrives, so a service that sends one byte a second is never
late. Sockets of these two classes also look at the clock.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TotalTimeoutError(TimeoutError):
    """The deadline has passed, although the other end may be sending still."""


class _Deadline(threading.local):
    """This thread's deadline in monotonic seconds, if it has one."""

    at: float | None = None


_deadline = _Deadline()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let what this thread reads and writes inside end after so many seconds, with TotalTimeoutError."""
    before, _deadline.at = _deadline.at, time.monotonic() + seconds
    try:
        yield
    finally:
        _deadline.at = before


def check_deadline() -> None:
    """TotalTimeoutError when this thread's deadline has passed."""
    if _deadline.at is not None and time.monotonic() >= _deadline.at:
        raise TotalTimeoutError("not finished in time")


@contextmanager
def _hurry(connection: socket.socket) -> Iterator[None]:
    """Shorten the timeout of one operation to what is left until the deadline."""
    check_deadline()
    usual = connection.gettimeout()
    left = None if _deadline.at is None else _deadline.at - time.monotonic()
    if left is None or (usual is not None and usual < left):
        yield
        return
    connection.settimeout(max(left, 0.001))
    try:
        yield
    except TimeoutError as error:
        raise TotalTimeoutError("not finished in time") from error
    finally:
        connection.settimeout(usual)


class DeadlineSocket(socket.socket):
    """A socket that obeys the deadline of the thread that uses it."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As the socket's."""
        with _hurry(self):
            return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As the socket's."""
        with _hurry(self):
            super().sendall(data, flags)


class DeadlineTlsSocket(ssl.SSLSocket):
    """A TLS connection that obeys the deadline of the thread that uses it; every other read and write uses these."""

    def read(self, len: int = 1024, buffer: Any = None) -> bytes:
        """As the connection's."""
        with _hurry(self):
            return super().read(len, buffer)

    def send(self, data: Any, flags: int = 0) -> int:
        """As the connection's."""
        with _hurry(self):
            return super().send(data, flags)


class PunctualOptions(list[Any]):
    """Options of sockets, as urllib3 sets them before it tries each of a host's addresses: none after the deadline."""

    def __iter__(self) -> Iterator[Any]:
        """As the list's. TotalTimeoutError when this thread's deadline has passed."""
        check_deadline()
        return super().__iter__()


def obey_deadline(connection: socket.socket) -> DeadlineSocket:
    """Return this connection as a socket that obeys the deadline; the one given is no longer usable."""
    timeout = connection.gettimeout()
    obedient = DeadlineSocket(connection.family, connection.type, connection.proto, connection.detach())
    obedient.settimeout(timeout)
    return obedient
