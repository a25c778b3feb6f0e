"""Web addresses have one spelling, whatever a person writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.settings.addresses import is_loopback, parse_listening, parse_service_url, parse_vault

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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("[0:0::1]:1", ("::1", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("unix:/run/rotator/http.sock", Path("/run/rotator/http.sock")),
    ],
)
def test_listening_address_is_read(text: str, place: tuple[str, int] | Path) -> None:
    assert parse_listening(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *(
            "9464",
            ":9464",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:+1",
            "127.0.0.1:\u0661",
        ),
        *("::1:9464", "[::1]", "[127.0.0.1]:1", "example.com:9464", "http://127.0.0.1:9464", "127.0.0.1:9464/metrics"),
        *("unix:", "unix:http.sock", "unix:/" + "x" * 100, ""),
    ],
)
def test_text_that_is_no_listening_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_listening(text)


@pytest.mark.parametrize(
    ("text", "is_private"),
    [("127.9.9.9:1", True), ("[::1]:1", True), ("unix:/s", True), ("[::]:1", False), ("10.0.0.1:1", False)],
)
def test_listening_address_is_private_when_only_this_host_can_reach_it(text: str, is_private: bool) -> None:
    assert is_loopback(parse_listening(text)) == is_private
