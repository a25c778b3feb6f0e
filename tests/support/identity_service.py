"""What App Service gives its programs: tokens for the identity whose client id they name."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit


class IdentityService(HTTPServer):
    """Gives everybody `token`; `asked` are the client ids that were named."""

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _IdentityAnswer)
        self.token = token
        self.asked: list[str | None] = []

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a program finds it."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.server_address[1]}/token",
            "IDENTITY_HEADER": "a-header",
        }


class _IdentityAnswer(BaseHTTPRequestHandler):
    server: IdentityService

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.server.asked.append(query.get("client_id", [None])[0])
        body = json.dumps(
            {"access_token": self.server.token, "expires_on": "4102444800", "resource": "x", "token_type": "Bearer"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def run_identity_service(token: str) -> Iterator[IdentityService]:
    """The service until the block ends."""
    with IdentityService(token) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield service
        service.shutdown()
        thread.join()
