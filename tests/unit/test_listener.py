"""The HTTP server of the daemon, on real sockets: its pages, and whoever means it no good."""

from __future__ import annotations

import errno
import http.client
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.listener import BIND_WITHIN, MOST_CONNECTIONS, STUCK_SECONDS, Listener, bind
from rotator.errors import ConfigError, StoppedError
from rotator.ports.pages import Page
from tests.support.clock import FakeClock
from tests.support.pages import find_free_port
from tests.support.stop import make_stop, make_stop_in_wait

LARGE = Page(200, b"x" * 8_000_000, "text/large")
HEADERS = (("Content-Security-Policy", "default-src 'none'"), ("Referrer-Policy", "no-referrer"))
ROOT = Page(200, b"<p>", "text/html; charset=utf-8", HEADERS)
PAGES = {"/": ROOT, "/metrics": Page(200, b"a 1\n", "text/x"), "/readyz": Page(503, b"no\n"), "/large": LARGE}
SOON = timedelta(seconds=0.3)
PATIENCE = 30
Place = tuple[str, int]


def open_socket(place: Place | Path) -> socket.socket:
    """A socket that listens there."""
    clock = FakeClock()
    return bind(place, clock, make_stop(clock))


@contextmanager
def listening(patience: timedelta = timedelta(seconds=PATIENCE)) -> Iterator[Place]:
    """A listener with these pages, and where it is."""
    place = ("127.0.0.1", find_free_port())
    with Listener(open_socket(place), PAGES.get, patience):
        yield place


def ask(place: Place, method: str = "GET", target: str = "/metrics") -> tuple[int, dict[str, str], bytes]:
    """The answer of a listener."""
    connection = http.client.HTTPConnection(*place, timeout=PATIENCE)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def exchange(place: Place, request: bytes) -> bytes:
    """All that a listener sends until it ends the connection."""
    with socket.create_connection(place, PATIENCE) as connection:
        connection.sendall(request)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until the other end closes or resets."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        parts.append(b"(reset)")
    return b"".join(parts)


def test_pages_are_served_as_they_are() -> None:
    with listening() as place:
        status, headers, body = ask(place)
        assert (status, body, headers["Content-Type"], headers["Connection"]) == (200, b"a 1\n", "text/x", "close")
        assert ask(place, target="/metrics?name=x")[2] == b"a 1\n"
        assert ask(place, target="/readyz")[::2] == (503, b"no\n")
        status, headers, body = ask(place, "HEAD")
        assert (status, headers["Content-Length"], body) == (200, "4", b"")
        assert ask(place, target="/large")[2] == LARGE.body


def test_page_is_served_with_its_own_headers_and_is_kept_by_nobody() -> None:
    with listening() as place:
        for method, body in (("GET", b"<p>"), ("HEAD", b"")):
            status, headers, sent = ask(place, method, "/?state=ok")
            assert (status, sent, headers["Content-Length"]) == (200, body, "3")
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert [(name, headers[name]) for name, _ in HEADERS] == list(HEADERS)
            assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert ask(place, "POST", "/")[1]["Allow"] == "GET, HEAD"
        assert ask(place, target="/nothing")[2] == b"there is /, /metrics, /healthz and /readyz\n"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /index.html HTTP/1.1\r\n\r\n", 404),
        (b"PUT / HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics/../etc HTTP/1.0\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01 \xff\xfe\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
    ],
)
def test_odd_request_gets_an_answer_that_says_so(request_text: bytes, status: int) -> None:
    with listening() as place:
        assert exchange(place, request_text)[:12] in (b"HTTP/1.1 %d" % status, b"(reset)" if status == 431 else b"")
        assert ask(place)[0] == 200


def test_whoever_sends_a_byte_at_a_time_or_nothing_is_cut_off() -> None:
    """However often a byte comes: the time is for the whole exchange."""
    with listening(SOON) as place, socket.create_connection(place, PATIENCE) as slow:
        slow.settimeout(0.02)
        request = iter(b"GET /metrics HTTP/1.1\r\nHost: " + b"x" * 5000)
        ended = False
        while not ended:
            try:
                slow.send(bytes([next(request)]))
                ended = slow.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
        assert ask(place)[0] == 200


def test_whoever_reads_nothing_is_cut_off() -> None:
    """What is not read waits in the listener for a while, and no longer."""
    with listening(SOON) as place, socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.settimeout(PATIENCE)
        idle.connect(place)
        idle.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        with socket.create_connection(place, PATIENCE) as mute:
            assert read_to_end(mute) in (b"", b"(reset)")  # it came later, and is cut off later
        assert len(read_to_end(idle)) < len(LARGE.body)
        assert ask(place)[0] == 200


def test_thousand_connections_keep_nobody_from_an_answer() -> None:
    """The listener keeps few of them: each new one takes the place of the oldest."""
    with listening() as place, ExitStack() as stack:
        idle = []
        for _ in range(1000):
            idle.append(stack.enter_context(socket.create_connection(place, PATIENCE)))
            idle[-1].sendall(b"GET /metrics HT")
        assert ask(place)[0] == 200
        for connection in idle[: 1000 - MOST_CONNECTIONS]:
            assert read_to_end(connection) in (b"", b"(reset)")


def test_listener_is_alive_until_it_ends_and_ends_with_connections_open() -> None:
    place = ("127.0.0.1", find_free_port())
    listener = Listener(open_socket(place), PAGES.get)
    with listener:
        idle = socket.create_connection(place, PATIENCE)
        assert ask(place)[0] == 200
        assert listener.is_alive()
    assert read_to_end(idle) in (b"", b"(reset)")
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, PATIENCE)


def test_listener_that_stands_still_is_not_called_alive() -> None:
    """Its thread is held where it would make an answer."""
    clock, held, release = FakeClock(), threading.Event(), threading.Event()
    place = ("127.0.0.1", find_free_port())

    def hang(path: str) -> Page | None:
        held.set()
        release.wait()
        return PAGES.get(path)

    with (
        Listener(open_socket(place), hang, seconds=lambda: clock.read_boot().elapsed.total_seconds()) as listener,
        socket.create_connection(place, PATIENCE) as connection,
    ):
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert held.wait(PATIENCE)
        assert listener.is_alive()
        clock.advance(timedelta(seconds=STUCK_SECONDS))
        assert not listener.is_alive()
        release.set()
        assert read_to_end(connection).endswith(b"a 1\n")


def test_listener_serves_ipv6() -> None:
    place = ("::1", find_free_port("::1"))
    with Listener(open_socket(place), PAGES.get):
        assert ask(place)[0] == 200


def test_listener_serves_a_unix_socket_to_its_group_and_takes_it_away(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with Listener(open_socket(path), PAGES.get):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert read_to_end(connection).endswith(b"\r\n\r\na 1\n")
        with pytest.raises(ConfigError, match=r"http\.sock is in use"):
            open_socket(path)
    assert not path.exists()


def test_socket_that_a_dead_process_left_is_replaced_and_any_other_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    open_socket(path).close()
    path.unlink()
    path.write_text("theirs")
    with pytest.raises(ConfigError, match="in use"):
        open_socket(path)
    assert path.read_text() == "theirs"


def test_port_in_use_is_tried_again_for_half_a_minute() -> None:
    clock, reasons = FakeClock(), list[str]()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = ("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"listen: 127\.0\.0\.1:{place[1]} is in use") as told:
            bind(place, clock, make_stop(clock), reasons.append)
    assert (told.value.exit_code, reasons) == (2, ["Address already in use"])
    assert sum(clock.slept) == BIND_WITHIN.total_seconds()


def test_port_that_becomes_free_is_taken() -> None:
    clock = FakeClock()
    taken = socket.create_server(("127.0.0.1", 0))
    place = taken.getsockname()
    closing: list[Callable[[], None]] = [lambda: None, taken.close]
    stop = make_stop(clock)
    wait = stop.wait

    class ClosingStop:
        """The stop; in the second wait the port becomes free."""

        check, finishing = stop.check, stop.finishing
        begin_finishing, end_finishing = stop.begin_finishing, stop.end_finishing

        def wait(self, seconds: float) -> None:
            """See the port."""
            closing.pop(0)()
            wait(seconds)

    bind(place, clock, ClosingStop()).close()
    assert clock.slept == [1.0, 1.0]


def test_stop_ends_the_wait_for_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StoppedError):
        bind(taken.getsockname(), FakeClock(), make_stop_in_wait())


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Path("/nowhere/http.sock"), "cannot listen on unix:/nowhere/http.sock: No such file"),
        (("192.0.2.1", 9464), f"cannot listen on 192.0.2.1:9464: .*{errno.EADDRNOTAVAIL}|Cannot assign"),
    ],
)
def test_address_that_cannot_be_had_is_told(place: Place | Path, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_socket(place)
