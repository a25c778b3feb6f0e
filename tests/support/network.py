"""The tests' network block: sockets reach loopback and Unix sockets, nothing else."""

import ipaddress
import socket
from typing import Any

import pytest

_RESERVED_NAMES = (".invalid", ".test")  # never resolve anywhere, so a test may use them for "no such host"


class OutsideNetworkError(AssertionError):
    """A test tried to leave the machine. Not an OSError, or it would be taken for a dead server."""


def is_local(host: object) -> bool:
    """Return whether the host (a name or an address; None and "" mean this machine) is loopback."""
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def confine_to_loopback(patch: pytest.MonkeyPatch) -> None:
    """Make connect, connect_ex and getaddrinfo raise OutsideNetworkError for any other host."""
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex
    real_getaddrinfo = socket.getaddrinfo

    def check_address(this: socket.socket, address: Any) -> None:
        if this.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            raise OutsideNetworkError(f"a test tried to connect to {address!r}")

    def connect(this: socket.socket, address: Any) -> None:
        check_address(this, address)
        real_connect(this, address)

    def connect_ex(this: socket.socket, address: Any) -> int:
        check_address(this, address)
        return real_connect_ex(this, address)

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(_RESERVED_NAMES):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not is_local(host):
            raise OutsideNetworkError(f"a test tried to look up {host!r}")
        return real_getaddrinfo(host, *arguments, **options)

    patch.setattr(socket.socket, "connect", connect)
    patch.setattr(socket.socket, "connect_ex", connect_ex)
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
