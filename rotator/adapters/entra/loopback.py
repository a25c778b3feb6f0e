"""The end of a browser sign-in: a listener on a loopback port that the browser is sent back to."""

from __future__ import annotations

import hmac
import queue
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_LARGEST_BODY = 64 * 1024


class LoopbackListener(ThreadingHTTPServer):
    """Takes one answer that carries `state`, by GET or by a posted form; a context manager.

    Everything else (favicons, pages that guess the port) is refused and changes nothing. Each connection has its own
    thread, because browsers open some and send nothing.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.redirect_uri = f"http://localhost:{self.server_address[1]}"
        self._state = state
        self._answers: queue.Queue[dict[str, str]] = queue.Queue(maxsize=1)
        self._acceptor = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        self._acceptor.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a browser that hangs up is no news, and a traceback is none for the person at the terminal."""

    def wait(self, timeout: timedelta) -> dict[str, str] | None:
        """Return the fields of the answer: `code` or `error`, and `state`; None when none came in time."""
        try:
            return self._answers.get(timeout=timeout.total_seconds())
        except queue.Empty:
            return None

    def accept(self, fields: dict[str, str]) -> bool:
        """Return whether these fields are the awaited answer; the first one is kept."""
        if not hmac.compare_digest(fields.get("state", "").encode(), self._state.encode()):
            return False
        if not ("code" in fields or "error" in fields):
            return False
        try:
            self._answers.put_nowait(fields)
        except queue.Full:
            return False
        return True


class _Answer(BaseHTTPRequestHandler):
    """One request of the browser."""

    server: LoopbackListener
    timeout = 10.0

    def do_GET(self) -> None:
        """The answer in the address."""
        self._take(urlsplit(self.path).query)

    def do_POST(self) -> None:
        """The answer in a form."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            self._show(400, "That was not a sign-in", "Go back to the terminal.")
            return
        self._take(self.rfile.read(int(length)).decode("utf-8", "replace"))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address holds the code."""

    def _take(self, form: str) -> None:
        fields = dict(parse_qsl(form))
        if urlsplit(self.path).path != "/" or not self.server.accept(fields):
            self._show(400, "That was not a sign-in", "Go back to the terminal and start it there.")
        elif "error" in fields:
            self._show(400, "The sign-in was refused", "The terminal says why. You may close this page.")
        else:
            self._show(200, "Thank you", "The sign-in continues in the terminal. You may close this page.")

    def _show(self, status: int, title: str, sentence: str) -> None:
        page = (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>rotator: {title}</title></head>'
            '<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 12vh auto; padding: 0 1rem">'
            f"<h1>{title}</h1><p>{sentence}</p></body></html>\n"
        ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)
