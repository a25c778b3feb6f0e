"""The end of a browser sign-in, when a browser behaves as browsers do."""

from __future__ import annotations

import socket
import struct
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import requests

from rotator.adapters.entra.loopback import LoopbackListener


def test_browser_that_hangs_up_is_not_told_and_the_next_one_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    with LoopbackListener("state") as listener:
        port = urlsplit(listener.redirect_uri).port or 0
        for sent in (b"", b"GET /", b"GET http://[/ HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as browser:
                browser.sendall(sent)
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with requests.Session() as person:
            person.trust_env = False
            assert person.get(f"http://127.0.0.1:{port}/?code=c&state=state", timeout=10).status_code == 200
        assert listener.wait(timedelta(seconds=10)) == {"code": "c", "state": "state"}
    assert capfd.readouterr().err == ""
