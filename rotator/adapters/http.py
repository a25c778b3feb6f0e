"""HTTP as all our adapters use it: a CA of your choice, limits on time and size, redirects never followed.

The libraries for Entra and Key Vault get the same sessions, so that the same limits hold for what they fetch.
The environment is ignored (no proxies, no `.netrc`, no `REQUESTS_CA_BUNDLE`), and no cookie is kept: one that a
service sets for one credential must not be sent with the next. Whatever goes wrong is a `requests.RequestException`,
also where the libraries below let something else out; `http_failures` has its words. The exceptions hold the request
with its credential: none of them, not even as `__context__`, may leave an adapter.
"""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException
from http.client import HTTPResponse as HttpAnswer
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
)

from rotator.adapters.answer_limits import read_body
from rotator.adapters.deadline import DeadlineTlsSocket, PunctualOptions, TotalTimeoutError, deadline, obey_deadline
from rotator.adapters.echoes import list_sent_secrets, remove_echoes
from rotator.adapters.hidden_paths import hide_paths
from rotator.adapters.http_failures import (
    GarbledAnswerError,
    ProxyRefusedError,
    UnusableRequestError,
    say_status,
)
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.adapters.permits import ask_permit, check_permit_given
from rotator.adapters.proxy import bypasses_proxy
from rotator.adapters.regular_files import check_regular
from rotator.errors import ConfigError
from rotator.ports.stop import Stop

OLDEST_CONNECTION = timedelta(minutes=10)
"""A connection that may be older is replaced before the next request: by then its name may mean another host."""


def make_session(
    options: HttpOptions,
    stop: Stop | None = None,
    seconds: Callable[[], float] = time.monotonic,
    *,
    needs_permits: bool = False,
) -> requests.Session:
    """Return a session for one thread. Close it. ConfigError when the CA bundle cannot be used.

    No request leaves after the stop: a library may send several in one call (a challenge, a token, the next page).
    `seconds` is what the age of its connections is measured by. With `needs_permits` none that may change something
    leaves without a permit.
    """
    session = _Session(stop, needs_permits=needs_permits)
    session.trust_env = False
    session.verify = True if options.ca_bundle is None else str(options.ca_bundle)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(_share_tls_context(options.ca_bundle), options, seconds)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _share_tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """Return one context for all sessions: reading the public CAs takes 30 ms, and a run may have twenty sessions."""
    try:
        changed_at = 0 if ca_bundle is None else ca_bundle.stat().st_mtime_ns
    except OSError:
        changed_at = 0  # reading it says what is wrong
    return _make_tls_context(ca_bundle, changed_at)


@lru_cache(maxsize=8)
def _make_tls_context(ca_bundle: Path | None, changed_at: int) -> ssl.SSLContext:
    # Not by the functions of urllib3 or `ssl`: these write the keys of every connection where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.hostname_checks_common_name = False
    context.sslsocket_class = DeadlineTlsSocket
    try:
        if ca_bundle is not None:
            check_regular(ca_bundle)
        context.load_verify_locations(certifi.where() if ca_bundle is None else str(ca_bundle))
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no CA certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            [f"{ca_bundle}: {reason}"],
            setting="http.ca_bundle",
            fix="Point http.ca_bundle at a PEM file of CA certificates, or remove it to use the public CAs.",
        ) from error
    return context


class _Session(requests.Session):
    """A session that treats a redirect as the answer it is.

    Of what goes wrong it raises nothing but RequestException.
    """

    def __init__(self, stop: Stop | None, *, needs_permits: bool) -> None:
        super().__init__()
        self._stop, self._needs_permits = stop, needs_permits

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare it as the library does. UnusableRequestError, before anything is sent, when HTTP cannot carry it."""
        try:
            prepared = super().prepare_request(request)
            for value in prepared.headers.values():
                (value if isinstance(value, bytes) else value.encode("latin-1")).decode("latin-1")
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidJSONError):
            prepared = None
        except requests.RequestException:
            raise
        except ODD_ANSWER:
            prepared = None
        if prepared is None:  # outside the `except`: the library's error may hold what could not be written
            raise UnusableRequestError(type(request).__name__)
        return prepared

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send it as the library does, unless the stop came before it left, or its permit was lost by then."""
        if self._stop is not None:
            self._stop.check()
        if self._needs_permits:
            check_permit_given(request.method)
        ask_permit()
        return super().send(request, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return no target: a token must never follow a redirect."""
        return None


class _FinalAnswer(HttpAnswer):
    """An answer, and none of the heads that may come before it, as `103 Early Hints` from a proxy.

    The standard library knows `100 Continue` only, and takes the others for the answer: the true one was then read as
    that of the next request on the connection. BadStatusLine when the protocol is changed, which nobody asked for.
    """

    def begin(self) -> None:
        """Read heads up to that of the answer; the deadline ends a flood of them."""
        unread: Any = None  # what the library begins with
        super().begin()
        while self.status < 200:
            if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise BadStatusLine(f"{self.status}")
            self.headers = unread
            super().begin()


class _PlainConnection(HTTPConnection):
    """An HTTP connection that obeys the deadline, and asks for the permit when it stands."""

    response_class = _FinalAnswer

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request: what waits comes before the permit is asked for."""
        if self.is_closed:
            self.connect()
        ask_permit()
        super().request(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        self.socket_options = PunctualOptions(self.socket_options or ())
        return obey_deadline(super()._new_conn())


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _Connection(HTTPSConnection):
    """An HTTPS connection that obeys the deadline, and tells failures before the request from those after it.

    Without this, a failed handshake and a TLS error while the answer is read are the same exception. It asks for the
    permit when it stands.
    """

    response_class = _FinalAnswer

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request: what waits (a name, a proxy, a handshake) came before the permit is asked for."""
        ask_permit()
        super().request(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        self.socket_options = PunctualOptions(self.socket_options or ())
        return obey_deadline(super()._new_conn())

    def connect(self) -> None:
        """Connect and shake hands; every failure is a NewConnectionError or a ConnectTimeoutError."""
        try:
            super().connect()
        except (NewConnectionError, ConnectTimeoutError, LocationValueError):
            raise
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no TLS handshake in time") from error
        except OSError as error:  # ssl.SSLError is one
            raise NewConnectionError(self, str(error)) from error

    def _tunnel(self) -> None:
        """Ask the proxy for a connection; every failure is a ProxyRefusedError."""
        try:
            super()._tunnel()
        except TimeoutError as error:
            raise ProxyRefusedError(self, "it did not answer in time") from error
        except OSError as error:
            # What the standard library raises when a proxy answers CONNECT with a refusal.
            _, refused, reason = str(error).partition("Tunnel connection failed: ")
            raise ProxyRefusedError(self, say_status(reason) if refused else "it closed the connection") from error
        except (HTTPException, *ODD_ANSWER) as error:
            raise ProxyRefusedError(self, "its answer is not HTTP") from error


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """Gives every request the limits of the options, one TLS context to all, and never retries."""

    def __init__(self, context: ssl.SSLContext, options: HttpOptions, seconds: Callable[[], float]) -> None:
        self._context = context
        self._seconds, self._emptied_at = seconds, seconds()
        self._note_date = options.note_date
        self._options = options
        self._total = options.total_timeout.total_seconds()
        self._timeout = (options.connect_timeout.total_seconds(), options.read_timeout.total_seconds())
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: object) -> None:
        """Make pools whose connections obey the deadline, and tell a failed handshake from a failed answer."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _Pool}

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: object) -> ProxyManager:
        """Make a proxy's pools as the others are."""
        if proxy not in self.proxy_manager:
            contexts = {"ssl_context": self._context, "proxy_ssl_context": self._context}
            manager: ProxyManager = super().proxy_manager_for(proxy, **contexts, **proxy_kwargs)
            manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _Pool}
            return manager
        kept: ProxyManager = self.proxy_manager[proxy]
        return kept

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Make the header with the proxy's user and password, in UTF-8: the library cannot send what is not Latin-1."""
        user = urlsplit(proxy).netloc.rpartition("@")[0]
        coded = base64.b64encode(unquote_to_bytes(user if ":" in user else f"{user}:")).decode()
        return {"Proxy-Authorization": f"Basic {coded}"} if user else {}

    def _choose_proxies(self, url: str) -> dict[str, str]:
        proxy = self._options.proxy
        return {} if proxy is None or bypasses_proxy(url, self._options.no_proxy) else {"https": proxy.reveal()}

    def cert_verify(
        self,
        conn: HTTPSConnectionPool,
        url: str,
        verify: bool | str,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None,
    ) -> None:
        """Always verify, by the context: its CAs have been read already."""
        conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send as the library does, within the limits, and tell what came of it. The answer is read whole."""
        self._drop_old()
        status: int | None = None
        try:
            with deadline(self._total), hide_paths(self._options.hides_paths):
                response = self._exchange(request, timeout or self._timeout)
            status = response.status_code
        finally:
            if self._options.note_outcome is not None:
                self._options.note_outcome(status)
        # An answer with an `Age` comes from a cache, and its date from long ago.
        if self._note_date is not None and "Date" in response.headers and "Age" not in response.headers:
            self._note_date(response.headers["Date"])
        return response

    def _drop_old(self) -> None:
        """Close all connections once the oldest of them may be too old; none is in use between two requests."""
        now = self._seconds()
        if now - self._emptied_at >= OLDEST_CONNECTION.total_seconds():
            self.close()
            self._emptied_at = now

    def _exchange(
        self, request: requests.PreparedRequest, timeout: float | tuple[float, float] | tuple[float, None]
    ) -> requests.Response:
        """Send it and read the answer. RequestException, whatever the libraries below raise."""
        try:
            chosen = self._choose_proxies(request.url or "")
            with super().send(request, True, timeout, True, None, chosen) as answer:
                return self._keep(request, answer)
        except requests.exceptions.InvalidHeader as error:  # of the answer: the request's own were looked at before
            raise GarbledAnswerError(error, request=request) from error
        except requests.RequestException:
            raise
        except LocationValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from error
        except (HTTPException, HTTPError, *ODD_ANSWER) as error:
            raise GarbledAnswerError(error, request=request) from error

    def _keep(self, request: requests.PreparedRequest, answer: requests.Response) -> requests.Response:
        """Return the answer with its body in memory, unpacked."""
        try:
            body = read_body(answer, is_binary=self._options.is_binary)
        except TotalTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        headers = HTTPHeaderDict(answer.raw.headers)
        for name in ("Content-Encoding", "Content-Length", "Transfer-Encoding"):
            headers.discard(name)
        if answer.status_code >= 300:
            body = remove_echoes(body, headers, list_sent_secrets(request))
        kept = HTTPResponse(
            BytesIO(body), headers, answer.status_code, reason=answer.reason, preload_content=False, version=11
        )
        return self.build_response(request, kept)
