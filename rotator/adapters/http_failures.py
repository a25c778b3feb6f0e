"""What goes wrong with a request, in words: a code, a sentence with host and reason, and the setting to look at."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit

import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidChunkLength,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from rotator.adapters.answer_limits import AnswerLimitError
from rotator.adapters.deadline import TotalTimeoutError


class UnusableRequestError(requests.RequestException):
    """The request could not be written as HTTP: its address, a header or its body holds what HTTP cannot carry."""


class GarbledAnswerError(requests.RequestException):
    """What came back is not HTTP."""


class ProxyRefusedError(NewConnectionError):
    """The proxy was reached, and made no connection; `reason` is its status in the words of HTTP, or what it did.

    Its own words are left out: they may repeat the password.
    """

    def __init__(self, connection: HTTPConnection, reason: str) -> None:
        super().__init__(connection, reason)
        self.reason = reason


def was_not_sent(error: requests.RequestException) -> bool:
    """Return whether the service certainly saw no byte of the request: no connection, no TLS, nothing to send."""
    if isinstance(error, (*_BAD_ADDRESS, UnusableRequestError)):
        return True
    return any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in _causes(error))


def explain_failure(error: requests.RequestException, *, url: str) -> tuple[str, str, str]:
    """Code, message (host and reason) and fix (the setting to look at) of a request that got no answer.

    The texts hold nothing of the request but its host.
    """
    host = _find_host(url)
    causes = list(_causes(error))
    reach = f"Check that {host} is the right address in the settings and can be reached from this host."
    kinds = {kind for kind in (ProxyError, ProxyRefusedError) for cause in causes if isinstance(cause, kind)}
    if kinds == {ProxyError}:
        return _explain_proxy(causes, host)
    for kind, code, text, fix in _EXPLANATIONS:
        found = next((cause for cause in causes if isinstance(cause, kind)), None)
        if found is not None:
            reason = _say_reason(found)
            return code, text.format(host=host, reason=reason), _choose_tls_fix(found, host) or fix or reach
    return "network_error", f"the request to {host} failed: {type(error).__name__}", reach


_TLS_FIXES = (
    (
        (9, 10),
        "Check the clock of this host. If it is right, whoever runs {host}, or the proxy in between, must renew that "
        "certificate.",
    ),
    (
        (62, 64),
        "Correct the address of {host} in the settings. If it is right, something else answers in its place: look at "
        "the proxies in between.",
    ),
)
"""By the numbers of OpenSSL: not yet valid and expired, another host name and another IP address."""
_BAD_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_BETWEEN = "This usually passes by itself; if not, look at the proxies and firewalls in between."
_GARBLED = ("answer_garbled", "{host} sent an answer that is not HTTP", _BETWEEN)
_LOST = ("connection_lost", "{host} closed the connection before the answer was complete", _BETWEEN)
_EXPLANATIONS: tuple[tuple[type[BaseException], str, str, str], ...] = (
    (
        ProxyRefusedError,
        "proxy_refused",
        "the proxy did not connect to {host}: {reason}",
        "Check http.proxy, its user and password, and what it may connect to; http.no_proxy lists what bypasses it.",
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
        "This usually passes by itself; http.total_timeout sets how long one request may take.",
    ),
    (
        ReadTimeoutError,
        "read_timeout",
        "{host} did not answer in time",
        "This usually passes by itself; http.read_timeout sets how long to wait for an answer.",
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
        UnusableRequestError,
        "request_unusable",
        "nothing was sent to {host}: a part of the request is no text that HTTP can carry",
        "Correct the address and the names in the settings; if they are right, sign in again.",
    ),
    (GarbledAnswerError, *_GARBLED),
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
        _BETWEEN,
    ),
    (InvalidChunkLength, *_GARBLED),
    *((kind, *_LOST) for kind in (RemoteDisconnected, IncompleteRead)),
    (HTTPException, *_GARBLED),
    *((kind, *_LOST) for kind in (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)),
)


_PROXY_REACH = "Check http.proxy and that this host can reach it; http.no_proxy lists what bypasses it."
_PROXY_TRUST = (
    "Correct http.proxy, or set http.ca_bundle to the CA that signed the proxy's certificate. If it has expired, "
    "whoever runs the proxy must renew it."
)
_PROXY_REASONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted: {reason}", _PROXY_TRUST),
    (ssl.SSLError, "no TLS connection: {reason}", "Correct http.proxy: it may have to begin with http://."),
    (NameResolutionError, "its host name cannot be resolved", _PROXY_REACH),
    (socket.gaierror, "its host name cannot be resolved", _PROXY_REACH),
    (ConnectionRefusedError, "it refused the connection", _PROXY_REACH),
    (ConnectTimeoutError, "it did not accept a connection in time", _PROXY_REACH),
    (BaseException, "it cannot be reached", _PROXY_REACH),
)


def _explain_proxy(causes: Sequence[BaseException], host: str) -> tuple[str, str, str]:
    """Code, message and fix where there is no connection to the proxy itself."""
    found, text, fix = next(
        (cause, text, fix) for kind, text, fix in _PROXY_REASONS for cause in causes if isinstance(cause, kind)
    )
    reason = text.format(reason=_say_reason(found))
    return "proxy_failed", f"no connection to the proxy, for {host}: {reason}", fix


def _find_host(url: str) -> str:
    """Return host and port, without user and password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or url
    except ValueError:
        return "this host"


def say_status(line: str) -> str:
    """Return the status of a first line such as `407 credentials abc refused`, in the words of HTTP."""
    code = line.split(" ", 1)[0]
    known = code.isdecimal() and int(code) in {status.value for status in HTTPStatus}
    return f"{code} {HTTPStatus(int(code)).phrase}" if known else "it refused"


def _choose_tls_fix(cause: BaseException, host: str) -> str | None:
    """Return who must do what about a certificate, where another authority would not help."""
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return None
    return next((fix.format(host=host) for codes, fix in _TLS_FIXES if cause.verify_code in codes), None)


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
