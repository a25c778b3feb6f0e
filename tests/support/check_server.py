"""A server of checks on loopback, by the protocol of healthchecks.io; it notes each ping."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rotator.sandbox.messages import Request, Response
from rotator.sandbox.server import HttpsServer, Reply

KEY = "/ping/3f6c1d8e-canary-of-a-check-9b02"
_PATIENCE = 30.0


class CheckServer:
    """`pings` are what came after the check's key: `/start`, `` for a success, `/1`; `run_ids` the run of each.

    `answers` are the statuses of the next answers, then 200: 0 closes the connection, -1 sends an answer for ever.
    """

    def __init__(self, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = HttpsServer(context, self._answer)
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self.url = f"{self._server.base_url}{KEY}"
        self.pings: list[str] = []
        self.run_ids: list[str] = []
        self.answers: list[int] = []
        self.methods: set[str] = set()

    @property
    def host(self) -> str:
        """Its host and port."""
        return self._server.base_url.removeprefix("https://")

    def wait_for(self, count: int) -> list[str]:
        """Wait until so many pings came, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.pings) >= count, _PATIENCE), self.pings
            return list(self.pings)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve inside."""
        self._server.start()
        try:
            yield
        finally:
            self._ended.set()
            self._server.stop()

    def _answer(self, request: Request) -> Reply:
        assert request.path.startswith(KEY)
        with self._changed:
            self.pings.append(request.path.removeprefix(KEY))
            self.run_ids.append(request.query["rid"])
            self.methods.add(request.method)
            status = self.answers.pop(0) if self.answers else 200
            self._changed.notify_all()
        if status == 0:
            return Reply(None)
        if status < 0:
            return Reply(Response(200, b"x" * 1000), pause=lambda: self._ended.wait(0.05))
        return Reply(Response(status, b"OK"))
