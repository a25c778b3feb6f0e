"""One request outside of the services, as pings and webhooks send it: its address is a secret, and shows only its host.

It is made as every other request: with the same CAs, proxy and limits, and without following a redirect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import requests

from rotator.adapters.http import make_session
from rotator.adapters.http_failures import explain_failure
from rotator.adapters.http_options import HttpOptions
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError


@dataclass(frozen=True)
class Answer:
    """What came of it: the status, or why there is none, and the body. `is_passing`: that may pass by itself."""

    status: int | None
    code: str = ""
    message: str = ""
    fix: str = ""
    is_passing: bool = False
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        """Whether it was accepted."""
        return self.status is not None and 200 <= self.status < 300


def find_host(url: SecretValue) -> str:
    """Return the host of an address, with its port: what may be shown of it."""
    return urlsplit(url.reveal()).netloc.rpartition("@")[2]


def send_once(
    http: HttpOptions,
    url: SecretValue,
    send: Callable[[requests.Session, str], requests.Response],
    *,
    is_binary: bool = False,
) -> Answer:
    """Send one request, and return what came of it. `is_binary`: its answer is no text."""
    try:
        with make_session(replace(http, hides_paths=True, is_binary=is_binary)) as session:
            response = send(session, url.reveal())
            status, body = response.status_code, response.content
    except ConfigError as error:
        return Answer(None, error.code, error.message, error.fix)
    except requests.RequestException as error:
        return Answer(None, *explain_failure(error, url=url.reveal()), is_passing=True)
    is_passing = status in (408, 425, 429) or status >= 500
    return Answer(status, "refused", f"{find_host(url)} answered HTTP {status}", "", is_passing, body)
