"""A proxy on loopback before PostgreSQL, which cuts a connection inside COMMIT, or inside any answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CommitProxy:
    """Stands between a client and PostgreSQL. `cut` cuts the connection at the COMMIT after so many others.

    With `keep` the server carries it out, and its answer is lost; else the server never hears of it.
    `cut_answer` cuts it at the answer after so many others, when a part of its messages was passed on: one request may
    have several statements, and an answer for each of them. `answers` counts those since then.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left: int | None = None
        self._keep = False
        self._part: float | None = None
        self._counting = threading.Lock()
        self.cuts = self.answers = 0
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

    def cut_answer(self, after: int, part: float) -> None:
        """Cut the connection at an answer, of which less than all is passed on: from none (0) on."""
        self._left, self._part, self.answers = after, part, 0

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
                if self._part is None and b"COMMIT\0" in data and self._is_due():
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
        read = b""
        with suppress(OSError):
            while data := server.recv(65536):
                if self._part is None:
                    client.sendall(read + data)
                    read = b""
                    continue
                answers, read = _split_answers(read + data)
                for messages in answers:
                    is_cut, passed = self._pass(messages)
                    client.sendall(b"".join(passed))
                    if is_cut:
                        client.shutdown(socket.SHUT_RDWR)
                        server.shutdown(socket.SHUT_RDWR)
                        return

    def _pass(self, messages: list[bytes]) -> tuple[bool, list[bytes]]:
        """Whether the connection is cut at this answer, and what of it is passed on."""
        with self._counting:
            part = self._part
            self.answers += 1
            if part is None or not self._is_due():
                return False, messages
            self.cuts, self._part = self.cuts + 1, None
            return True, messages[: int(len(messages) * part)]

    def _is_due(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = None
        return True


def _split_answers(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """Split what the server sent into answers, each with its messages, which end with ReadyForQuery; and a rest."""
    answers, messages, start, position = list[list[bytes]](), list[bytes](), 0, 0
    while len(data) >= position + 5:
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5])
        if len(data) < end:
            break
        messages.append(data[position:end])
        if data[position : position + 1] == b"Z":
            answers.append(messages)
            messages, start = [], end
        position = end
    return answers, data[start:]
