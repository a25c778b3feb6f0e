"""Secrets leave a text by their shape, harmless text stays as it is."""

from __future__ import annotations

import base64
import json

import pytest

from rotator.adapters.redaction import LONGEST_TEXT, MASK, Blanker, redact_text, redact_value

PAT = ("a1B2c3D4" * 10)[:76] + "AZDO" + "x9Y8"
OLD_PAT = ("abcdefghijklmnopqrstuvwxyz234567" * 2)[:52]
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOiJ2YXVsdCJ9.c2lnbmF0dXJlLXBhcnQ_-x"
REFRESH_TOKEN = "1.AXkAEs-fb4uXI02sGJ7wwSfPh1J8Gj9EjeZLmgUc0seOi4gG." + "AgABAwEAAAB" + "Q7x_-z" * 60
CLIENT_SECRET = "abc8Q~" + "aB3_-.~xyz" * 3 + "Zz12"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"


def code(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SECRETS = {
    "pat": PAT,
    "old pat": OLD_PAT,
    "coded pat": code(f":{PAT}"),
    "coded old pat": code(f":{OLD_PAT}"),
    "pat coded alone": code(PAT),
    "old pat coded alone": code(f"{OLD_PAT}\n"),
    "pat coded with a user": code(f"build-bot:{PAT}"),
    "old pat coded with a user": code(f"b:{OLD_PAT}"),
    "jwt": JWT,
    "jwt without signature": JWT.rpartition(".")[0],
    "refresh token": REFRESH_TOKEN,
    "short refresh token": "0." + REFRESH_TOKEN[2:60],
    "client secret": CLIENT_SECRET,
}
PLACES = (
    "{}",
    "before {} after",
    "'{}'",
    '{{"value": "{}"}}',
    "https://host/path?x={}&y=1",
    "line\\n{}\\n",
    "prefix_{}",
    "({})",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_text_loses_a_secret_when_it_has_its_shape(secret: str, place: str) -> None:
    cleaned = redact_text(place.format(secret))
    assert secret not in cleaned
    assert secret[8:-8] not in cleaned
    assert MASK in cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"Authorization: Bearer {JWT}", f"Authorization: Bearer {MASK}"),
        ("authorization: bearer opaque-token-0123456", f"authorization: bearer {MASK}"),
        (f"{{'Authorization': 'Basic {code('user:password-of-some-length')}'}}", f"{{'Authorization': '{MASK}'}}"),
        ("grant_type=x&client_secret=p%40ss&scope=y", f"grant_type=x&client_secret={MASK}&scope=y"),
        ("refresh_token=short&client_id=1", f"refresh_token={MASK}&client_id=1"),
        ("client_assertion=abc assertion=def", f"client_assertion={MASK} assertion={MASK}"),
        ("/callback?code=0abc&state=1", f"/callback?code={MASK}&state=1"),
        ("code=0abc&state=1", f"code={MASK}&state=1"),
        ('{"device_code": "abc", "user_code": "QWE"}', f'{{"device_code": "{MASK}", "user_code": "QWE"}}'),
        ('"{\\"refresh_token\\": \\"abc\\"}"', f'"{{\\"refresh_token\\": \\"{MASK}\\"}}"'),
        ("{'password': 'abc def'}", f"{{'password': '{MASK}'}}"),
        ("postgresql+psycopg://rot:p4ss@db:5432/x", f"postgresql+psycopg://rot:{MASK}@db:5432/x"),
        (f"key:\n{KEY}\nend", f"key:\n{MASK}\nend"),
        (f"key:\n{KEY[:50]}", f"key:\n{MASK}"),
        (KEY.replace("\n", "\\n"), MASK),
    ],
)
def test_text_keeps_all_but_the_secret_when_its_place_is_known(text: str, cleaned: str) -> None:
    assert redact_text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rotation_completed npm-feed contoso",
        "error code=vault_denied request 2287e9ad-2485-4fe5-a048-b57e30586882",
        '{"code": "secret_soft_deleted", "status": 409}',
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://vault.example/secrets/contoso-ci-build/00000000000000000000000000000000?api-version=7.6",
        "Basic authentication and Bearer authorization are words",
        "2026-12-03T09:00:00Z key_vault.credential: workload_identity cannot be used",
        "https://127.0.0.1:8443/a@b",
        "/usr/lib/python3.11/site-packages/azure/keyvault/secrets/_generated/_operations/_operations.py",
    ],
)
def test_text_stays_as_it_is_when_it_holds_no_secret(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("secret", [PAT, OLD_PAT, JWT, REFRESH_TOKEN, code(f":{PAT}")])
@pytest.mark.parametrize("shift", [0, 1, 20, 40, 80])
def test_text_shows_no_half_of_a_secret_when_it_is_cut_there(secret: str, shift: int) -> None:
    head, tail = LONGEST_TEXT // 2 - shift, LONGEST_TEXT // 2 - len(secret) + shift
    text = "." * (head - 1) + " " + secret + " " + "x " * LONGEST_TEXT + secret + " " + "." * max(tail, 0)
    cleaned = redact_text(text)
    assert len(cleaned) < LONGEST_TEXT + 100
    assert "characters left out" in cleaned
    assert secret[:12] not in cleaned
    assert secret[-12:] not in cleaned


def test_value_is_cleaned_in_depth_when_it_is_nested() -> None:
    value = {
        "list": [f"a {PAT}", {"inner": (JWT, 7, None, True)}],
        "Authorization": "anything",
        "client_secret": {"deep": "anything"},
        "password": None,
        PAT: 1.5,
        "bytes": f"x {OLD_PAT}".encode(),
        "set": {REFRESH_TOKEN},
        "error": ValueError(f"bad {JWT}"),
    }
    cleaned = redact_value(value)
    assert cleaned == {
        "list": [f"a {MASK}", {"inner": [MASK, 7, None, True]}],
        "Authorization": MASK,
        "client_secret": MASK,
        "password": None,
        MASK: 1.5,
        "bytes": f"x {MASK}",
        "set": [MASK],
        "error": f"bad {MASK}",
    }
    assert json.dumps(cleaned)


def test_secret_is_blanked_out_at_once_when_the_text_is_one_long_word() -> None:
    """Each sign is looked at once: looking on from each of them would take hours."""
    blob = "a" * 2_000_000
    assert Blanker([JWT]).clean(f"{blob} {JWT[:12]}-more {blob}") == f"{blob} {MASK} {blob}"
    assert Blanker([JWT]).clean(f"{blob}{JWT}") == f"{blob}{MASK}"
