"""Syslog over TLS (RFC 5425): each message with its length in octets before it, on one connection.

Syslog has no acknowledgement: what was sent last when a connection broke may be lost.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rotator.domain.backoff import make_backoff
from rotator.errors import RejectedError, TransientError
from rotator.ports.stop import Stop

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
_GOODBYE_SECONDS = 1.0


class SyslogCollector:
    """A collector, by its address. A context manager: it is connected inside.

    `trusted` is a file of certificate authorities, those of the system if None. `tell` hears of each time in which the
    collector takes nothing, once. `most_tries`: None tries until the stop.
    """

    def __init__(
        self,
        host: str,
        port: int,
        trusted: Path | None,
        timeout: timedelta,
        stop: Stop,
        tell: Callable[[str], None],
        most_tries: int | None,
    ) -> None:
        self._host, self._port, self._timeout = host, port, timeout.total_seconds()
        self._context = ssl.create_default_context(cafile=trusted)
        self._stop, self._tell, self._most_tries = stop, tell, most_tries
        self._connection: ssl.SSLSocket | None = None

    def __enter__(self) -> Self:
        """Connect, once: a wrong address or certificate shows right away."""
        try:
            self._connection = self._connect()
        except OSError as error:
            raise self._make_error(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with suppress(OSError, ValueError):
                self._connection.settimeout(_GOODBYE_SECONDS)
                self._connection.unwrap()
            self._drop()

    def send(self, message: str) -> None:
        """Send a message; where that fails, again on a new connection."""
        octets = message.encode()
        frame, tries = b"%d %b" % (len(octets), octets), 0
        while True:
            self._stop.check()
            try:
                self._find_connection().sendall(frame)
                return
            except OSError as error:
                self._drop()
                tries += 1
                failure = self._make_error(error)
                if isinstance(failure, RejectedError) or tries == self._most_tries:
                    raise failure from error
                if tries == 1:
                    self._tell(failure.message)
                self._stop.wait(make_backoff(tries, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE).total_seconds())

    def _find_connection(self) -> ssl.SSLSocket:
        if self._connection is not None and _is_closed(self._connection, self._timeout):
            self._drop()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection((self._host, self._port), self._timeout)
        try:
            return self._context.wrap_socket(raw, server_hostname=self._host)
        except BaseException:
            raw.close()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _make_error(self, error: OSError) -> RejectedError | TransientError:
        where = f"the syslog collector {self._host}:{self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return RejectedError(
                f"{where} has a certificate that is not trusted: {error.verify_message}",
                service="syslog",
                operation="send_event",
                code="syslog_untrusted",
                fix="Use the name that its certificate has, and put the authority that issued it into http.ca_bundle.",
            )
        return TransientError(
            f"{where} takes nothing: {error.strerror or error}",
            service="syslog",
            operation="send_event",
            code="syslog_unreachable",
            fix="Check the address, and that the collector listens there with TLS (RFC 5425).",
        )


def _is_closed(connection: ssl.SSLSocket, timeout: float) -> bool:
    """Whether the other side has closed it: a write would still succeed, and be lost."""
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)
