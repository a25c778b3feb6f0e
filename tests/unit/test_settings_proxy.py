"""`http.proxy` and `key_vault.client_id` as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.settings.effective import show_settings
from rotator.settings.load import check_files, load_settings
from rotator.settings.secrets import resolve
from tests.unit.test_settings_load import ACCOUNT, problems_of, write

CANARY = "pw-canary"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://proxy.contoso.com:3128", "http://proxy.contoso.com:3128"),
        (f"https://rotator:{CANARY}@proxy:8443/", "https://rotator:***@proxy:8443/"),
        ("{env: PROXY}", "{env: PROXY}"),
    ],
)
def test_proxy_is_shown_without_its_password(tmp_path: Path, text: str, shown: str) -> None:
    settings = load_settings(write(tmp_path, ACCOUNT + f"http: {{proxy: {text}}}\n"))
    http = show_settings(settings)["http"]
    assert isinstance(http, dict)
    assert http["proxy"] == shown
    assert settings.http.proxy is not None
    value = resolve(settings.http.proxy, {"PROXY": f"http://u:{CANARY}@proxy:3128"}, None)
    assert value.reveal().startswith("http")


@pytest.mark.parametrize(
    "text",
    [f"socks5://u:{CANARY}@proxy", f"proxy-{CANARY}:3128", f"http://u:{CANARY}@proxy:x", f"http://u:{CANARY}/x@proxy"],
)
def test_proxy_is_refused_without_its_password_when_it_is_no_address(tmp_path: Path, text: str) -> None:
    (problem,) = check_files(write(tmp_path, ACCOUNT + f"http: {{proxy: '{text}'}}\n"))
    assert "http.proxy" in problem
    assert CANARY not in problem


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            "credential: azure_cli, client_id: 0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50",
            "cannot be used with credential: azure_cli",
        ),
        ("client_id: build", "must be a client id"),
    ],
)
def test_client_id_is_refused_where_it_means_nothing(tmp_path: Path, extra: str, expected: str) -> None:
    (problem,) = problems_of(tmp_path, ACCOUNT + f"key_vault: {{{extra}}}\n")
    assert expected in problem


def test_client_id_names_an_identity(tmp_path: Path) -> None:
    text = "key_vault: {credential: managed_identity, client_id: 0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50}\n"
    settings = load_settings(write(tmp_path, ACCOUNT + text))
    assert settings.key_vault.client_id == "0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50"
