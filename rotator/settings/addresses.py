"""Web addresses in the two files: services and vaults."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def parse_service_url(value: object) -> str:
    """An https URL of a host alone, without a slash at its end. ValueError says what is wrong."""
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
    return f"https://{parts.netloc}"


def parse_vault(value: object) -> str:
    """A Key Vault's URL, without a slash at its end. ValueError says what is wrong."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][0-9A-Za-z-]{2,23}", value):
        raise ValueError(f'"{value}" must be a URL: write https://{value}.vault.azure.net')
    url = parse_service_url(value)
    if "_" in url:
        raise ValueError(f'"{value}" cannot be a vault: its name has letters, digits and hyphens only')
    return url
