"""A proxy on loopback that connects (CONNECT) whoever knows its password."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

USER, PASSWORD = "rotator", "p@ss/w\u00f6rd#1 for 5\u20ac"


class ConnectProxy(socketserver.ThreadingTCPServer):
    """`targets` are the hosts and ports that were connected to; `refused` counts those without the password."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.targets: list[str] = []
        self.refused = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Answer, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, and close the port."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    @property
    def address(self) -> str:
        """Without user and password."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        """With user and password."""
        return f"http://{USER}:p%40ss%2Fw\u00f6rd%231%20for%205%E2%82%AC@127.0.0.1:{self.server_address[1]}"


class _Tunnel(socketserver.StreamRequestHandler):
    server: ConnectProxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split(" ", 2)
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if method != "CONNECT" or headers.get("proxy-authorization") != wanted:
            self.server.refused += 1
            given = headers.get("proxy-authorization", "no credentials")
            told = base64.b64decode(given.rpartition(" ")[2]).decode() if " " in given and "Basic" in given else given
            self.wfile.write(f"HTTP/1.1 407 {given} ({told}) refused\r\nContent-Length: 0\r\n\r\n".encode())
            return
        self.server.targets.append(target)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _copy(self.connection, there)


def _copy(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until either end closes."""
    try:
        while True:
            ready, _, _ = select.select([one, other], [], [])
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                (other if source is one else one).sendall(data)
    except OSError:
        return


@contextmanager
def run_proxy() -> Iterator[ConnectProxy]:
    """The proxy until the block ends."""
    proxy = ConnectProxy()
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
