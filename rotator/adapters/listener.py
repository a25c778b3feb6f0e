"""A small HTTP server for a few pages that are already made, in one thread that no scraper can hold up.

Each connection gets one answer, within `PATIENCE` in all, however slowly the other end reads or writes. There are at
most `MOST_CONNECTIONS`: a new one takes the place of the one that has been waiting for longest.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from rotator.errors import ConfigError
from rotator.ports.clock import BootClock
from rotator.ports.pages import FindPage, Page
from rotator.ports.stop import Stop

PATIENCE = timedelta(seconds=10)
MOST_CONNECTIONS = 64
BIND_WITHIN = timedelta(seconds=30)
_LONGEST_HEAD = 8192
_PART = 65536
_PROOF_SECONDS = 1.0
STUCK_SECONDS = 10.0
_PASSING = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
"""The one that had the port may be ending, and the address may belong to a network that is still coming up."""


def bind(
    place: tuple[str, int] | Path, boot: BootClock, stop: Stop, tell_why: Callable[[str], None] = lambda why: None
) -> socket.socket:
    """Return a socket that listens at an address or a path. One that is taken is tried again for half a minute.

    `tell_why` is called once, before the first wait. ConfigError when it cannot be had; StoppedError on a stop.
    """
    ends_at, has_told = boot.read_boot().elapsed + BIND_WITHIN, False
    while True:
        try:
            return _bind(place)
        except OSError as error:
            if error.errno not in _PASSING or boot.read_boot().elapsed >= ends_at:
                raise _explain(place, error) from error
            if not has_told:
                tell_why(os.strerror(error.errno))
                has_told = True
        stop.wait(1.0)


class Listener:
    """Serves pages from a socket until it is closed, which it owns. A context manager."""

    def __init__(
        self,
        listening: socket.socket,
        find_page: FindPage,
        patience: timedelta = PATIENCE,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listening, self._find_page, self._patience = listening, find_page, patience.total_seconds()
        self._path = listening.getsockname() if listening.family == socket.AF_UNIX else None
        self._waiting: dict[asyncio.StreamWriter, None] = {}
        self._loop = asyncio.new_event_loop()
        self._seconds, self._proof = seconds, seconds()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)
        self._listening.close()

    def is_alive(self) -> bool:
        """Whether it gets on."""
        return self._seconds() - self._proof < STUCK_SECONDS

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._prove()
        start = asyncio.start_unix_server if self._listening.family == socket.AF_UNIX else asyncio.start_server
        server = self._loop.run_until_complete(start(self._serve, sock=self._listening, limit=_LONGEST_HEAD))
        self._loop.run_forever()
        # Closed first, the server would drop connections that it has just accepted without closing them.
        self._loop.remove_reader(self._listening)
        self._loop.run_until_complete(self._end_all())
        server.close()
        self._loop.close()

    async def _end_all(self) -> None:
        """Cut off whoever is connected, also those who came last, and let each exchange end by itself."""
        while asyncio.all_tasks() - {asyncio.current_task()} or self._waiting:
            for writer in self._waiting:
                writer.transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _prove(self) -> None:
        self._proof = self._seconds()
        self._loop.call_later(_PROOF_SECONDS, self._prove)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(self._waiting) >= MOST_CONNECTIONS:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.transport.abort()
        self._waiting[writer] = None
        writer.transport.set_write_buffer_limits(0)  # `drain` waits for the last byte
        try:
            async with asyncio.timeout(self._patience):
                await _send(writer, *await self._converse(reader))
        except (OSError, asyncio.IncompleteReadError):  # TimeoutError is one
            # Whoever is too slow, or left, gets no answer.
            writer.transport.abort()
        finally:
            self._waiting.pop(writer, None)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader) -> tuple[Page, bool]:
        try:
            return self._answer(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.LimitOverrunError:
            return Page(431, b"the request is too long\n"), True

    def _answer(self, head: bytes) -> tuple[Page, bool]:
        """Return the answer to a request, and whether its body is wanted."""
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Page(400, b"this is no request\n"), True
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return Page(405, b"only GET and HEAD\n"), True
        page = self._find_page(target.partition("?")[0])
        return page or Page(404, b"there is /, /metrics, /healthz and /readyz\n"), method == "GET"


async def _send(writer: asyncio.StreamWriter, page: Page, with_body: bool) -> None:
    """Send an answer in parts: no more of it waits in memory than one."""
    lines = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        *(("Allow: GET, HEAD",) if page.status == 405 else ()),
        *(f"{name}: {value}" for name, value in page.headers),
        "\r\n",
    )
    writer.write("\r\n".join(lines).encode("latin-1"))
    body = memoryview(page.body if with_body else b"")
    for start in range(0, len(body), _PART):
        writer.write(body[start : start + _PART])
        await writer.drain()
    await writer.drain()


def _bind(place: tuple[str, int] | Path) -> socket.socket:
    if isinstance(place, Path):
        return _bind_path(place)
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    return socket.create_server(place, family=family, backlog=MOST_CONNECTIONS)


def _bind_path(path: Path) -> socket.socket:
    """Listen at a path. What a daemon that was killed left there is taken away, and nothing else."""
    if _is_socket(path):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o660)
        listening.listen(MOST_CONNECTIONS)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _explain(place: tuple[str, int] | Path, error: OSError) -> ConfigError:
    where = f"unix:{place}" if isinstance(place, Path) else "{}:{}".format(*place)
    if error.errno == errno.EADDRINUSE:
        fix = "End the program that listens there, or choose another address for `listen`."
        return ConfigError([f"listen: {where} is in use"], fix=fix)
    return ConfigError(
        [f"listen: cannot listen on {where}: {error.strerror}"],
        fix="Choose an address of this host, or a path in a folder that the user who runs rotator can write to.",
    )
