"""A server on loopback that says exactly these bytes, whatever it is asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _RawServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    answer: bytes | None
    released: threading.Event


class _Said(socketserver.StreamRequestHandler):
    server: _RawServer

    def handle(self) -> None:
        """Read the head of a request and what follows it, answer, and hang up."""
        length = 0
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        if self.server.answer is None:
            self.server.released.wait(60)
        else:
            self.wfile.write(self.server.answer)


@contextmanager
def run_raw_server(answer: bytes | None) -> Iterator[str]:
    """Its http address until the block ends; None never answers."""
    with _RawServer(("127.0.0.1", 0), _Said) as server:
        server.answer, server.released = answer, threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.released.set()
        server.shutdown()
        thread.join()


def make_json_answer(body: bytes, status: str = "200 OK") -> bytes:
    """An answer of HTTP with this body."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
GARBLED = {
    "a negative chunk": CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a thousand digits": CHUNKED + b"f" * 1000 + b"\r\n{}\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "no HTTP": b"\x15\x03\x01\x00\x02\x02\x16",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(200)) + b"\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nh: " + b"x" * 70_000 + b"\r\n\r\n",
    "an empty redirect": b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
}
"""Answers that are not HTTP, or almost; the last one is, and leads nowhere."""
