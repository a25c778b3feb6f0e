"""Which requests go through the proxy of the settings, and which proxy of the environment nobody uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

_OF_THIS_HOST = ("169.254.0.0/16",)
"""Where Azure gives a host its identity: no proxy can stand in between."""
_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def bypasses_proxy(url: str, no_proxy: Sequence[str]) -> bool:
    """Return whether a request goes straight to its host: by `no_proxy`, or because it is for this host's identity.

    An entry is a host, which stands for those below it as well, with a port if need be; a network; or `*` for all.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    # The settings allow https alone; plain http is how a host asks Azure for its own identity.
    if parts.scheme != "https":
        return True
    return any(_covers(entry.strip().lower(), host, parts.port or 443) for entry in (*no_proxy, *_OF_THIS_HOST))


def find_unused_proxy(environment: Mapping[str, str]) -> str | None:
    """Return the name of a variable that names a proxy for https, if there is one."""
    return next((name for name in _VARIABLES if environment.get(name)), None)


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if entry.startswith("["):  # an IPv6 address as it stands in a URL
        entry = entry.removesuffix(f":{port}").strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".").removesuffix(f":{port}").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
