"""A proxy on loopback before PostgreSQL, which cuts a connection inside COMMIT."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CommitProxy:
    """Stands between a client and PostgreSQL. `cut` cuts the connection at the COMMIT after so many others.

    With `keep` the server carries it out, and its answer is lost; else the server never hears of it.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left: int | None = None
        self._keep = False
        self.cuts = 0
        self._clients = list[socket.socket]()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self, after: int, *, keep: bool) -> None:
        """Cut the connection at a COMMIT."""
        self._left, self._keep = after, keep

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def cut_off(self) -> None:
        """Break every connection, and take no other."""
        self._listener.shutdown(socket.SHUT_RDWR)  # closing it alone lets one more in, where it is waited for
        for client in self._clients:
            with suppress(OSError):  # one that has ended already
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Carry requests and answers in turn, as the protocol without pipelining has them; either side may leave."""
        with client, server, suppress(OSError):
            backwards = threading.Thread(target=self._answer, args=(server, client), daemon=True)
            backwards.start()
            while data := client.recv(65536):
                if b"COMMIT\0" in data and self._is_due():
                    self.cuts += 1
                    if not self._keep:
                        break
                    client.shutdown(socket.SHUT_WR)
                    server.sendall(data)
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            backwards.join(10)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            return

    def _is_due(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = None
        return True
