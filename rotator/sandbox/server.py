"""A threaded HTTPS server for one stand-in, which can cut replies and connections.

It is the standard library's server, because the faults need control over every byte of a reply.
"""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rotator.sandbox.messages import Request, Response

_JOIN_SECONDS = 5.0


class Service(Protocol):
    """A stand-in: answers requests from the world's state."""

    def handle(self, request: Request) -> Response:
        """Carry out the request and return the reply."""


@dataclass(frozen=True)
class Reply:
    """What is sent: a response, cut after `send_only` bytes of its body; None only closes the connection.

    With `pause`, which waits, the response is sent byte by byte. With `ahead`, which waits as well, another head comes
    before it, of the kind that is no answer yet.
    """

    response: Response | None
    send_only: int | None = None
    pause: Callable[[], object] | None = None
    ahead: Callable[[], object] | None = None


class HttpsServer(http.server.ThreadingHTTPServer):
    """Serves on a free loopback port from `start` until `stop`, with one thread for each connection."""

    daemon_threads = True
    request_queue_size = 128
    base_url: str

    def __init__(self, context: ssl.SSLContext, answer: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        # The connection's thread does the handshake: a slow client must not block the others.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.base_url = f"https://127.0.0.1:{self.server_address[1]}"
        self.answer = answer
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._guard = threading.Lock()
        self._acceptor = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Start to accept connections, and return immediately."""
        self._acceptor.start()

    def stop(self) -> None:
        """Stop accepting connections, disconnect every client, and wait for the threads."""
        self.shutdown()
        self._acceptor.join(_JOIN_SECONDS)
        with self._guard:
            open_connections = dict(self._connections)
        for connection in open_connections.values():
            _hang_up(connection)
        for thread in open_connections:
            thread.join(_JOIN_SECONDS)
        self.server_close()

    # The signatures of the next three are the standard library's.
    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Start a thread for a new connection and keep both, so that `stop` can end them."""
        if not isinstance(request, socket.socket):
            raise TypeError("only stream connections are served")
        thread = threading.Thread(target=self._serve_connection, args=(request, client_address), daemon=True)
        with self._guard:
            self._connections[thread] = request
        thread.start()

    def _serve_connection(self, connection: socket.socket, client_address: object) -> None:
        try:
            self.process_request_thread(connection, client_address)
        finally:
            with self._guard:
                self._connections.pop(threading.current_thread(), None)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Ignore a client that went away; show anything else, which is a bug of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    try:
        # Not SSLSocket.shutdown: that takes the TLS object away from the thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the client closed it first


class _Connection(http.server.BaseHTTPRequestHandler):
    """Reads requests from one connection and writes the replies."""

    protocol_version = "HTTP/1.1"
    server_version = "Sandbox/1"
    sys_version = ""
    disable_nagle_algorithm = True
    server: HttpsServer

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to stderr: the sandbox keeps its own record."""

    def _serve(self) -> None:
        target, _, query = self.path.partition("?")
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdecimal():
            self._write(Response(411))
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        request = Request(
            method=self.command,
            path=urllib.parse.unquote(target),
            query=dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            base_url=self.server.base_url,
        )
        reply = self.server.answer(request)
        if reply.response is None:
            self.close_connection = True
            return
        if reply.ahead is not None:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
            reply.ahead()
        self._write(reply.response, reply.send_only, reply.pause)

    def _write(
        self, response: Response, send_only: int | None = None, pause: Callable[[], object] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if "Date" not in response.headers:
            lines.append(f"Date: {self.date_time_string()}")
        lines.append("Server: sandbox")
        if response.status != 204:
            lines.append(f"Content-Length: {len(response.body)}")
        body = b"" if self.command == "HEAD" else response.body
        if send_only is not None:
            body = body[:send_only]
            self.close_connection = True
        # One write makes one packet: a reply in two would wait for the client's delayed acknowledgement.
        whole = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        if pause is None:
            self.wfile.write(whole)
            return
        for position in range(len(whole)):
            self.wfile.write(whole[position : position + 1])
            pause()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve
