"""Who is notified: a web server on loopback that takes what comes by webhook."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rotator.sandbox.messages import Request, Response
from rotator.sandbox.server import HttpsServer, Reply


@contextmanager
def receive(certificate: Path, hear: Callable[[dict[str, str]], object]) -> Iterator[str]:
    """Receive inside, at the address that it gives; `hear` gets each notification, in a thread of its own.

    What is no JSON is answered with 400.
    """

    def take(request: Request) -> Reply:
        try:
            document = request.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return Reply(Response(400))
        hear(document)
        return Reply(Response(200))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HttpsServer(context, take)
    server.start()
    try:
        yield f"{server.base_url}/ops"
    finally:
        server.stop()
