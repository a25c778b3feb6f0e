"""A syslog collector, by its address on the command line and what the settings say of HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.adapters.syslog import SyslogCollector
    from rotator.wiring.installation import Installation

PORT = 6514
_TRIES = 5


def make_collector(
    installation: Installation, address: str, tell: Callable[[str], None], *, follow: bool
) -> SyslogCollector:
    """Return the collector at `HOST[:PORT]`. UsageError if that is no address. `follow`: it is waited for."""
    from rotator.adapters.syslog import SyslogCollector

    host, port = _parse(address)
    http = installation.settings.http
    return SyslogCollector(
        host, port, http.ca_bundle, http.read_timeout, installation.stop, tell, None if follow else _TRIES
    )


def _parse(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.netloc != address or "@" in address:
        raise UsageError(
            f'--syslog: "{address}" is no address', fix="Give HOST or HOST:PORT; an IPv6 address in brackets."
        )
    return host, port or PORT
