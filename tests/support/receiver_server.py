"""Receivers on loopback: one of webhooks, over TLS; one of mail."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rotator.sandbox.messages import Request, Response
from rotator.sandbox.server import HttpsServer, Reply

HOOK_PATH = "/hook/7d1c9a52-canary-of-a-webhook-41fe"
SIGNING_KEY = "whsec_Y2FuYXJ5LW9mLWEtc2lnbmluZy1rZXktMDAwMDE="
MAIL_PASSWORD = "canary-of-a-mail-password-77-5b81fe20"
_PATIENCE = 60.0


def make_server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a server on loopback needs for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class WebhookServer:
    """`received` are the requests that came. `answers` are the next statuses, then 200; -1 answers for ever."""

    def __init__(self, certificate: Path) -> None:
        self._server = HttpsServer(make_server_context(certificate), self._answer)
        self._changed, self._ended = threading.Condition(), threading.Event()
        self.url = f"{self._server.base_url}{HOOK_PATH}"
        self.received: list[Request] = []
        self.answers: list[int] = []

    @property
    def host(self) -> str:
        """Its host and port."""
        return self._server.base_url.removeprefix("https://")

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many requests came, and return the documents of all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, _PATIENCE), self.received
        return self.documents

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What came, as JSON."""
        found: list[Any] = [request.json() for request in self.received]
        return found

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
        with self._changed:
            self.received.append(request)
            status = self.answers.pop(0) if self.answers else 200
            self._changed.notify_all()
        if status < 0:
            return Reply(Response(200, b"x" * 1000), pause=lambda: self._ended.wait(0.05))
        return Reply(Response(status, b"OK", {"Location": self.url} if status in (301, 302, 307, 308) else {}))


class _Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        """Take one mail, as little of SMTP as a client needs."""
        self._say("220 loopback")
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].upper()
            if word == "EHLO":
                self._say("250-loopback")
                self._say("250 AUTH PLAIN LOGIN")
            elif word == "AUTH":
                self._say("235 welcome")
            elif word == "DATA":
                self._say("354 go on")
                self.server.keep(self._read_mail())
                self._say(self.server.answer)
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _read_mail(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode()) not in (".\r\n", ""):
            lines.append(line)
        return "".join(lines)


class MailServer(socketserver.ThreadingTCPServer):
    """`mails` are those that came, as they were sent; `answer` is what is said to each."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: list[str] = []
        self.answer = "250 taken"
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """Its address as apprise writes it, without TLS."""
        port = self.server_address[1]
        return f"mailto://bot:{MAIL_PASSWORD}@127.0.0.1:{port}/?from=bot@example.com&to=ops@example.com&mode=insecure"

    def keep(self, mail: str) -> None:
        """Note a mail."""
        with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve inside."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            self.server_close()
            thread.join()
