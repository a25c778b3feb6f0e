"""A syslog collector on loopback: TLS, and the octet-counted frames of RFC 5425, taken apart byte by byte."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 30.0


class SyslogReceiver:
    """Takes connections one after the other, and puts each message into `messages`.

    `closes_after`: it closes each connection after so many messages.
    """

    def __init__(self, certificate: Path, *, closes_after: int | None = None) -> None:
        self.messages: queue.Queue[str] = queue.Queue()
        self.connections = 0
        self.problems: list[str] = []
        self.closes_after = closes_after
        self._closed = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def take(self) -> str:
        """The next message."""
        return self.messages.get(timeout=PATIENCE)

    def await_close(self) -> None:
        """Wait until it has closed a connection by itself."""
        assert self._closed.wait(PATIENCE)
        self._closed.clear()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with raw, suppress(OSError), self._context.wrap_socket(raw, server_side=True) as connection:
                self.connections += 1
                self._read(connection)
            self._closed.set()

    def _read(self, connection: ssl.SSLSocket) -> None:
        stream = connection.makefile("rb")
        count = 0
        while self.closes_after is None or count < self.closes_after:
            length = b""
            while (octet := stream.read(1)).isdigit():
                length += octet
            if not octet and not length:
                return
            if octet != b" " or length.startswith(b"0"):
                self.problems.append(f"no frame: {length!r} {octet!r}")
                return
            self.messages.put(stream.read(int(length)).decode())
            count += 1
