"""Sessions that the environment cannot change, and network failures in words."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from rotator.adapters.http import OLDEST_CONNECTION, make_session
from rotator.adapters.http_failures import explain_failure, was_not_sent
from rotator.adapters.http_options import HttpOptions
from rotator.errors import ConfigError
from rotator.sandbox.faults import Fault
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.running import Sandbox
from rotator.sandbox.server import HttpsServer, Reply
from tests.support.raw_server import GARBLED, run_raw_server

RESOURCE = "/contoso/_apis/connectionData"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), seed_demo=False) as running:
        yield running


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[requests.Session]:
    with make_session(HttpOptions(sandbox.addresses.ca_path, timedelta(seconds=1), timedelta(seconds=0.3))) as made:
        yield made
    sandbox.world.faults.clear()


@contextmanager
def raw_server(reply: bytes | None) -> Iterator[str]:
    """A server that answers everything with these bytes and hangs up, or (None) never answers; its https address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10)
                connection.sendall(reply or b"")

        thread = threading.Thread(target=answer) if reply is not None else None
        if thread is not None:
            thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        if thread is not None:
            thread.join(5)


def fail(session: requests.Session, url: str) -> tuple[bool, str, str, str]:
    """Whether the request was certainly not sent, and its code, message and fix."""
    with pytest.raises(requests.RequestException) as caught:
        session.post(url + RESOURCE, headers={"Authorization": "Bearer s3cr3t"}, json={"key": "s3cr3t"})
    explained = explain_failure(caught.value, url=url + RESOURCE)
    assert "s3cr3t" not in "".join(explained)
    return was_not_sent(caught.value), *explained


def test_redirect_is_an_answer_and_not_followed(session: requests.Session, sandbox: Sandbox) -> None:
    response = session.get(sandbox.addresses.azure_devops_url + RESOURCE, allow_redirects=True)
    assert response.status_code == 302
    assert response.history == []


def test_environment_has_no_say(
    session: requests.Session, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password mallory\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    sandbox.world.record.clear()

    session.get(sandbox.addresses.azure_devops_url + RESOURCE)

    (request,) = sandbox.world.record.all()
    assert request.auth == "none"


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_session_is_refused_when_the_ca_bundle_is_unusable(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)

    with pytest.raises(ConfigError) as caught:
        make_session(HttpOptions(bundle))

    assert "http.ca_bundle" in caught.value.message
    assert str(bundle) in caught.value.message
    assert "http.ca_bundle" in caught.value.fix


def test_failure_names_the_ca_setting_when_the_certificate_is_not_trusted(sandbox: Sandbox) -> None:
    with make_session(HttpOptions()) as session:
        not_sent, code, message, fix = fail(session, sandbox.addresses.azure_devops_url)
    assert (not_sent, code) == (True, "tls_untrusted")
    assert sandbox.addresses.azure_devops_url.removeprefix("https://") in message
    assert "http.ca_bundle" in fix


def test_failure_was_not_sent_when_the_server_speaks_no_tls(session: requests.Session) -> None:
    with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        not_sent, code, _, fix = fail(session, url)
    assert (not_sent, code) == (True, "tls_failed")
    assert "https" in fix


def test_failure_was_not_sent_when_the_handshake_is_cut(session: requests.Session) -> None:
    with raw_server(b"") as url:
        not_sent, code, _, _ = fail(session, url)
    assert not_sent
    assert code in ("tls_failed", "connection_failed")


def test_failure_was_not_sent_when_the_handshake_takes_too_long(sandbox: Sandbox) -> None:
    options = HttpOptions(sandbox.addresses.ca_path, connect_timeout=timedelta(seconds=0.2))
    with raw_server(None) as url, make_session(options) as session:
        not_sent, code, _, fix = fail(session, url)
    assert (not_sent, code) == (True, "connect_timeout")
    assert "http.connect_timeout" in fix


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1:9", "connection_refused"),
        ("https://vault.invalid", "dns_failed"),
        ("https://", "address_invalid"),
        ("ftp://127.0.0.1", "address_invalid"),
        ("vault.invalid", "address_invalid"),
    ],
)
def test_failure_was_not_sent_when_the_address_leads_nowhere(session: requests.Session, url: str, code: str) -> None:
    not_sent, found, message, fix = fail(session, url)
    assert (not_sent, found) == (True, code)
    assert message
    assert fix


@pytest.mark.parametrize(
    ("kind", "code"),
    [("hang", "read_timeout"), ("lost_before", "connection_lost"), ("truncated", "connection_lost")],
)
def test_failure_may_have_been_sent_when_the_answer_is_lost(
    session: requests.Session, sandbox: Sandbox, kind: str, code: str
) -> None:
    sandbox.world.faults.add(Fault("azure_devops", kind))
    not_sent, found, message, _ = fail(session, sandbox.addresses.azure_devops_url)
    assert (not_sent, found) == (False, code)
    assert "127.0.0.1" in message


@pytest.mark.parametrize("what", [what for what in GARBLED if what != "an empty redirect"])
def test_failure_may_have_been_sent_when_the_answer_is_not_http(session: requests.Session, what: str) -> None:
    with run_raw_server(GARBLED[what]) as url:
        not_sent, code, message, _ = fail(session, url)
    assert not not_sent
    assert code == ("connection_lost" if what == "a chunk of a thousand digits" else "answer_garbled")
    assert "127.0.0.1" in message


@pytest.mark.parametrize(
    "request_parts",
    [
        {"headers": {"Authorization": "Bearer s3cr3t\ud800"}},
        {"headers": {"Authorization": "Bearer s3cr3t\u20ac"}},
        {"headers": {"Authorization": "Bearer s3cr3t\nX: y"}},
        {"data": {"refresh_token": "s3cr3t\ud800"}},
        {"params": {"name": "s3cr3t\ud800"}},
        {"json": {"key": float("nan")}},
    ],
)
def test_failure_was_not_sent_when_http_cannot_carry_the_request(
    session: requests.Session, request_parts: dict[str, Any]
) -> None:
    with run_raw_server(b"") as url:
        with pytest.raises(requests.RequestException) as caught:
            session.post(url, **request_parts)
        assert was_not_sent(caught.value)
        code, message, _ = explain_failure(caught.value, url=url)
    assert code == "request_unusable"
    assert "nothing was sent" in message


@pytest.mark.parametrize(
    "host", ["https://" + "a" * 70 + ".test", "https://a..test", "https://[::1", "https://a:999999"]
)
def test_failure_was_not_sent_when_the_address_is_no_address(session: requests.Session, host: str) -> None:
    not_sent, code, _, _ = fail(session, host)
    assert (not_sent, code) == (True, "address_invalid")


def test_session_is_refused_when_the_ca_bundle_would_be_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="no regular file"):
            make_session(HttpOptions(path))


def test_message_hides_the_user_when_the_address_holds_one() -> None:
    error = requests.ConnectionError("lost")
    _, message, _ = explain_failure(error, url="https://user:s3cr3t@vault.example/secrets")
    assert "vault.example" in message
    assert "s3cr3t" not in message


def test_outcome_of_each_request_is_told(sandbox: Sandbox) -> None:
    """The status of an answer; None where there was none, or not all of it."""
    heard: list[int | None] = []
    options = HttpOptions(sandbox.addresses.ca_path, total_timeout=timedelta(seconds=0.5), note_outcome=heard.append)
    with make_session(options) as session:
        session.get(sandbox.addresses.azure_devops_url + RESOURCE)
        for kind in ("truncated", "drip"):
            sandbox.world.faults.add(Fault("azure_devops", kind))
            with pytest.raises(requests.RequestException):
                session.get(sandbox.addresses.azure_devops_url + RESOURCE)
        with pytest.raises(requests.RequestException):
            session.get("https://127.0.0.1:1/")
    sandbox.world.faults.clear()
    assert heard == [302, None, None, None]


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_keys_of_connections_are_written_nowhere_when_the_environment_asks_for_them(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Whoever has them reads every token in what was recorded of the network."""
    keys = tmp_path / folder / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    ca = tmp_path / "ca.pem"  # contexts are shared by the CAs, and this one is new
    ca.write_bytes(sandbox.addresses.ca_path.read_bytes())
    with make_session(HttpOptions(ca)) as session:
        session.get(sandbox.addresses.azure_devops_url + RESOURCE)
    assert not keys.exists()


def test_connection_is_replaced_when_it_has_an_age(sandbox: Sandbox) -> None:
    """Until then all requests go over the same one. The server has a thread for each."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sandbox.addresses.ca_path.with_name("server.pem"))
    seen: list[str] = []

    def answer(request: Request) -> Reply:
        seen.append(threading.current_thread().name)
        return Reply(Response(200))

    server, now, oldest = HttpsServer(context, answer), 1000.0, OLDEST_CONNECTION.total_seconds()
    server.start()
    with make_session(HttpOptions(sandbox.addresses.ca_path), seconds=lambda: now) as session:
        for passed in (0.0, oldest - 1, 1.0, 0.0, oldest - 1, 1.0):
            now += passed
            session.get(server.base_url)
    server.stop()
    assert [seen.index(name) for name in seen] == [0, 0, 2, 2, 2, 5]
