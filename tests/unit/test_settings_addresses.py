"""Web addresses have one spelling, whatever a person writes."""

from __future__ import annotations

import pytest

from rotator.settings.addresses import parse_service_url, parse_vault

CONTOSO = "https://contoso-kv.vault.azure.net"


@pytest.mark.parametrize(
    "text",
    [
        CONTOSO,
        f"{CONTOSO}/",
        f"{CONTOSO}:443",
        f"{CONTOSO}:443/",
        f"{CONTOSO}:0443",
        f"{CONTOSO}:",
        f"{CONTOSO}.",
        f"{CONTOSO}.:443/",
        "https://Contoso-KV.Vault.Azure.NET",
        "HTTPS://contoso-kv.vault.azure.net",
        "https://contoso-kv%2evault%2Eazure.net",
        "https://contoso-kv.vault.azure.ne%74",
        "https://contoso-kv\u3002vault.azure.net",
    ],
)
def test_vault_has_one_spelling_whatever_is_written(text: str) -> None:
    assert parse_vault(text) == CONTOSO
    assert parse_service_url(text) == CONTOSO


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://LOCALHOST:8443/", "https://localhost:8443"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://[0:0:0:0:0:0:0:1]:8443", "https://[::1]:8443"),
        ("https://contoso.vault.usgovcloudapi.net", "https://contoso.vault.usgovcloudapi.net"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_address_keeps_what_it_needs(text: str, url: str) -> None:
    assert parse_service_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "https://contoso%2fevil.example",
        "https://contoso%40evil.example",
        "https://contoso%00.example",
        "https://contoso%3a8443",
        "https://contoso..example",
        "https://.example",
        "https://.",
        "https://contoso%",
        "https://contoso%25.example",
        "https://user@contoso.example",
        "https://contoso.example:99999",
        "https://" + "x" * 300 + ".example",
    ],
)
def test_address_is_refused_when_it_is_not_of_a_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|user name"):
        parse_service_url(text)
