"""HTTP as all our adapters use it: a CA of your choice, limits on time and size, redirects never followed.

The libraries for Entra and Key Vault get the same sessions, so that the same limits hold for what they fetch.
The environment is ignored (no proxies, no `.netrc`, no `REQUESTS_CA_BUNDLE`), and no cookie is kept: one that a
service sets for one credential must not be sent with the next. Failures of the network become a code, a sentence with
host and reason, and the setting to look at. The library's exceptions hold the request with its credential: none of
them, not even as `__context__`, may leave an adapter.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.util.ssl_ import create_urllib3_context

from rotator.adapters.answer_limits import AnswerLimitError, read_body
from rotator.adapters.deadline import DeadlineTlsSocket, TotalTimeoutError, deadline, obey_deadline
from rotator.adapters.hidden_paths import hide_paths
from rotator.adapters.proxy import bypasses_proxy
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError


@dataclass(frozen=True)
class HttpOptions:
    """`ca_bundle` is a PEM file that replaces the public CAs.

    `read_timeout` is for each read; `total_timeout` for a whole request, until the last byte of its answer.
    `proxy` is an http or https address, with user and password if it wants them; `no_proxy` says what goes past it.
    `note_date` is told the `Date` of each answer. `hides_paths`: the paths are secrets, so the library logs nothing.
    `note_outcome` is told the status of each answer, and None of each request without one.
    """

    ca_bundle: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=3)
    read_timeout: timedelta = timedelta(seconds=15)
    total_timeout: timedelta = timedelta(seconds=60)
    proxy: SecretValue | None = None
    no_proxy: tuple[str, ...] = ()
    note_date: Callable[[str], None] | None = None
    hides_paths: bool = False
    note_outcome: Callable[[int | None], None] | None = None


def make_session(options: HttpOptions) -> requests.Session:
    """Return a session for one thread. Close it. ConfigError when the CA bundle cannot be used."""
    session = _Session()
    session.trust_env = False
    session.verify = True if options.ca_bundle is None else str(options.ca_bundle)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(_share_tls_context(options.ca_bundle), options)
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
    context = create_urllib3_context()
    context.sslsocket_class = DeadlineTlsSocket
    try:
        context.load_verify_locations(certifi.where() if ca_bundle is None else str(ca_bundle))
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no CA certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            [f"http.ca_bundle: {ca_bundle}: {reason}"],
            fix="Point http.ca_bundle at a PEM file of CA certificates, or remove it to use the public CAs.",
        ) from error
    return context


class ProxyRefusedError(NewConnectionError):
    """The proxy answered, and made no connection; `reason` is its status, in the words of HTTP.

    Its own words are left out: they may repeat the password.
    """

    def __init__(self, connection: HTTPConnection, reason: str) -> None:
        super().__init__(connection, reason)
        self.reason = reason


def was_not_sent(error: requests.RequestException) -> bool:
    """Return whether the service certainly saw no byte of the request: no connection, no TLS, no usable address."""
    if isinstance(error, _BAD_ADDRESS):
        return True
    return any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in _causes(error))


def explain_failure(error: requests.RequestException, *, url: str) -> tuple[str, str, str]:
    """Code, message (host and reason) and fix (the setting to look at) of a request that got no answer.

    The texts hold nothing of the request but its host.
    """
    host = urlsplit(url).netloc.rpartition("@")[2] or url
    causes = list(_causes(error))
    reach = f"Check that {host} is the right address in the settings and can be reached from this host."
    for kind, code, text, fix in _EXPLANATIONS:
        found = next((cause for cause in causes if isinstance(cause, kind)), None)
        if found is not None:
            reason = _say_reason(found)
            return code, text.format(host=host, reason=reason), fix or reach
    return "network_error", f"the request to {host} failed: {type(error).__name__}", reach


_BAD_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_EXPLANATIONS: tuple[tuple[type[BaseException], str, str, str], ...] = (
    (
        ProxyRefusedError,
        "proxy_refused",
        "the proxy did not connect to {host}: {reason}",
        "Check http.proxy, its user and password, and what it may connect to; http.no_proxy lists what bypasses it.",
    ),
    (
        ProxyError,
        "proxy_failed",
        "no connection to the proxy, for {host}",
        "Check http.proxy and that this host can reach it; http.no_proxy lists what bypasses it.",
    ),
    (
        ssl.SSLCertVerificationError,
        "tls_untrusted",
        "the certificate of {host} is not trusted: {reason}",
        "Set http.ca_bundle to the CA that signed it (a company proxy has its own), or correct the address.",
    ),
    (
        ssl.SSLError,
        "tls_failed",
        "no TLS connection to {host}: {reason}",
        "Check that the address is an https service and that no proxy is in between, and check http.ca_bundle.",
    ),
    (NameResolutionError, "dns_failed", "the host name {host} cannot be resolved", ""),
    (socket.gaierror, "dns_failed", "the host name {host} cannot be resolved", ""),
    (ConnectionRefusedError, "connection_refused", "{host} refused the connection", ""),
    (NewConnectionError, "connection_failed", "no connection to {host}: {reason}", ""),
    # Its subclass NewConnectionError comes first, above.
    (
        ConnectTimeoutError,
        "connect_timeout",
        "{host} did not accept a connection in time",
        "Check the network and the firewall; http.connect_timeout sets how long to wait.",
    ),
    (
        TotalTimeoutError,
        "total_timeout",
        "{host} did not finish its answer in time",
        "Usually passes on its own; http.total_timeout sets how long one request may take.",
    ),
    (
        ReadTimeoutError,
        "read_timeout",
        "{host} did not answer in time",
        "Usually passes on its own; http.read_timeout sets how long to wait for an answer.",
    ),
    *(
        (
            kind,
            "address_invalid",
            "{host} is not a usable address",
            "Correct the address in the settings: it starts with https://.",
        )
        for kind in _BAD_ADDRESS
    ),
    (
        AnswerLimitError,
        "answer_limit",
        "{host} {reason}: that is not an answer from this service",
        "Check the address in the settings, and that no proxy answers instead of the service.",
    ),
    (
        requests.exceptions.ContentDecodingError,
        "answer_garbled",
        "{host} sent an answer that cannot be unpacked",
        "Usually passes on its own; if not, look at the proxies and firewalls in between.",
    ),
    *(
        (
            kind,
            "connection_lost",
            "{host} closed the connection before the answer was complete",
            "Usually passes on its own; if not, look at the proxies and firewalls in between.",
        )
        for kind in (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    ),
)


def _say_status(line: str) -> str:
    """Return the status of a first line such as `407 credentials abc refused`, in the words of HTTP."""
    code = line.split(" ", 1)[0]
    known = code.isdecimal() and int(code) in {status.value for status in HTTPStatus}
    return f"{code} {HTTPStatus(int(code)).phrase}" if known else "it refused"


def _say_reason(cause: BaseException) -> str:
    if isinstance(cause, AnswerLimitError):
        return str(cause)
    if isinstance(cause, ProxyRefusedError):
        return cause.reason
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "handshake failed").replace("_", " ").lower()
    root = cause.__cause__
    return (root.strerror if isinstance(root, OSError) else None) or "the network does not answer"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that it wraps: by `args`, by `reason`, by cause and context."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        wrapped: list[object] = [*current.args, current.__cause__, current.__context__]
        if isinstance(current, MaxRetryError):
            wrapped.append(current.reason)
        pending += [item for item in wrapped if isinstance(item, BaseException)]


class _Session(requests.Session):
    """A session that treats a redirect as the answer it is: a token must never follow one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return no target: redirects are not followed."""
        return None


class _PlainConnection(HTTPConnection):
    """An HTTP connection that obeys the deadline."""

    def _new_conn(self) -> socket.socket:
        return obey_deadline(super()._new_conn())


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _Connection(HTTPSConnection):
    """An HTTPS connection that obeys the deadline, and tells failures before the request from those after it.

    Without this, a failed handshake and a TLS error while the answer is read are the same exception.
    """

    def _new_conn(self) -> socket.socket:
        return obey_deadline(super()._new_conn())

    def connect(self) -> None:
        """Connect and shake hands; every failure is a NewConnectionError or a ConnectTimeoutError."""
        try:
            super().connect()
        except (NewConnectionError, ConnectTimeoutError):
            raise
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no TLS handshake in time") from error
        except OSError as error:  # ssl.SSLError is one
            # What the standard library raises when a proxy answers CONNECT with a refusal.
            _, refused, reason = str(error).partition("Tunnel connection failed: ")
            if refused:
                raise ProxyRefusedError(self, _say_status(reason)) from error
            raise NewConnectionError(self, str(error)) from error


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """Gives every request the limits of the options, one TLS context to all, and never retries."""

    def __init__(self, context: ssl.SSLContext, options: HttpOptions) -> None:
        self._context = context
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
        status: int | None = None
        try:
            with deadline(self._total), hide_paths(self._options.hides_paths):
                chosen = self._choose_proxies(request.url or "")
                answer = super().send(request, True, timeout or self._timeout, verify, cert, chosen)
                with answer:
                    response = self._keep(request, answer)
            status = response.status_code
        finally:
            if self._options.note_outcome is not None:
                self._options.note_outcome(status)
        # An answer with an `Age` comes from a cache, and its date from long ago.
        if self._note_date is not None and "Date" in response.headers and "Age" not in response.headers:
            self._note_date(response.headers["Date"])
        return response

    def _keep(self, request: requests.PreparedRequest, answer: requests.Response) -> requests.Response:
        """Return the answer with its body in memory, unpacked."""
        try:
            body = read_body(answer)
        except TotalTimeoutError as error:
            raise requests.ReadTimeout(error, request=request) from error
        headers = HTTPHeaderDict(answer.raw.headers)
        for name in ("Content-Encoding", "Content-Length", "Transfer-Encoding"):
            headers.discard(name)
        kept = HTTPResponse(
            BytesIO(body), headers, answer.status_code, reason=answer.reason, preload_content=False, version=11
        )
        return self.build_response(request, kept)
