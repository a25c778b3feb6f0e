"""Web addresses in the two files: services and vaults."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def parse_service_url(value: object) -> str:
    """An https URL of a host alone, in its one spelling. ValueError says what is wrong.

    The host is in lower case, without escapes, the port 443 and the dot and slash at its end: two spellings of one
    vault would look like two vaults.
    """
    if not isinstance(value, str):
        raise ValueError("must be an https URL")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid URL: its host or port cannot be parsed") from None
    if parts.username is not None:
        raise ValueError("must not contain a user name or password")
    if parts.scheme != "https":
        raise ValueError(f'"{value}" must begin with https://')
    if not parts.hostname or re.search(r"[\s<>{}]", value):
        raise ValueError(f'"{value}" has no host')
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f'"{value}" must have nothing after the host: write https://{parts.netloc}')
    host = _make_host(unquote(parts.hostname))
    if host is None:
        raise ValueError(f'"{value}" has no valid host')
    return f"https://{host}" if parts.port in (None, 443) else f"https://{host}:{parts.port}"


def _make_host(text: str) -> str | None:
    """The host in its one spelling; None if it cannot be one."""
    try:
        return f"[{IPv6Address(text)}]" if ":" in text else _check_name(text.encode("idna").decode().lower())
    except ValueError:  # UnicodeError is one
        return None


def _check_name(name: str) -> str:
    name = name.removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError("not the name of a host")
    return name


def parse_vault(value: object) -> str:
    """A Key Vault's URL, without a slash at its end. ValueError says what is wrong."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][0-9A-Za-z-]{2,23}", value):
        raise ValueError(f'"{value}" must be a URL: write https://{value}.vault.azure.net')
    url = parse_service_url(value)
    if "_" in url:
        raise ValueError(f'"{value}" cannot be a vault: its name has letters, digits and hyphens only')
    return url


def parse_authority_url(value: object) -> str:
    """The address of a time-stamp authority: https, or http, because what it answers is signed. ValueError if none."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid URL: its host or port cannot be parsed") from None
    if parts.username is not None:
        raise ValueError("must not contain a user name or password")
    is_address = parts.scheme in ("http", "https") and parts.hostname and _make_host(parts.hostname) is not None
    if not is_address or parts.fragment or re.search(r"[\s<>{}]", str(value)):
        raise ValueError(f'"{value}" is not the address of a time-stamp authority: write https://HOST/PATH')
    return str(value)


def check_proxy(text: str) -> str:
    """A proxy's address, with user and password if it has them. ValueError, never with the text in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be parsed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or _make_host(parts.hostname) is None:
        raise ValueError("it is not a proxy's address: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("it must have nothing after the host and the port; in a password write / as %2F, # as %23")
    return text.rstrip("/")


def check_ping_url(text: str) -> str:
    """The address of a check that is pinged. ValueError, never with the text in it."""
    parts = _split_secret_url(text, "the address of a check: write https://HOST/KEY")
    if not parts.path.strip("/") or parts.fragment:
        raise ValueError("it must name the check after the host, as in https://hc-ping.com/KEY, and end there")
    return text


def check_webhook_url(text: str) -> str:
    """The address that a webhook is sent to. ValueError, never with the text in it."""
    if _split_secret_url(text, "the address of a webhook: write https://HOST/PATH").fragment:
        raise ValueError("it must have nothing after a #")
    return text


def _split_secret_url(text: str, what: str) -> SplitResult:
    """The parts of an https address that is a secret as a whole. ValueError, never with the text in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be parsed") from None
    is_address = parts.scheme == "https" and parts.hostname and _make_host(parts.hostname) is not None
    if not is_address or parts.username is not None or re.search(r"[\s<>{}]", text):
        raise ValueError(f"it is not {what}")
    return parts


def check_apprise_url(text: str) -> str:
    """An address as apprise writes it. ValueError, never with the text in it. Its plugins know more about it."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", text) or re.search(r"\s", text):
        raise ValueError("it is not one address of apprise, such as mailtos://... or slack://...")
    return text


Listening = tuple[str, int] | Path
"""Where to listen: an IP address and a port, or the path of a unix socket."""

_LONGEST_SOCKET_PATH = 100
"""The kernel takes 107 bytes."""


def parse_listening(text: str) -> Listening:
    """Where to listen: `127.0.0.1:9464`, `[::1]:9464`, `unix:/PATH`. ValueError says what is wrong."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > _LONGEST_SOCKET_PATH:
            raise ValueError(f'"{text}" must be unix: and an absolute path of {_LONGEST_SOCKET_PATH} bytes at most')
        return Path(path)
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise ValueError(f'"{text}" must be an address and a port, such as 127.0.0.1:9464, or unix:/PATH')
    return str(_parse_ip(host, text)), int(port)


def is_loopback(place: Listening) -> bool:
    """Whether only this host can reach it."""
    return isinstance(place, Path) or ip_address(place[0]).is_loopback


def _parse_ip(host: str, text: str) -> IPv4Address | IPv6Address:
    try:
        if host == "localhost":
            return IPv4Address("127.0.0.1")
        if host.startswith("[") and host.endswith("]"):
            return IPv6Address(host[1:-1])
        return IPv4Address(host)
    except ValueError:
        example = "write an IPv6 address in brackets, [::1]:9464" if ":" in host else "such as 127.0.0.1:9464"
        raise ValueError(f'"{text}" must begin with an IP address or localhost: {example}') from None
