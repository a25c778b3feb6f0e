"""The search for canaries finds what it is for: a search that finds nothing would let every leak pass."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from rotator.sandbox.messages import Request
from rotator.sandbox.record import RecordedRequest, RequestRecord
from rotator.sandbox.seeds import TENANT_ID
from tests.support.canaries import (
    CUT,
    DEVOPS_BEARER,
    PAT,
    REFRESH_TOKEN,
    VAULT_BEARER,
    Canary,
    CanarySearch,
    find_strays,
)

VALUE = "q7/" + secrets.token_urlsafe(40) + '\n"+=' + secrets.token_urlsafe(40)
SPELLINGS = {
    "plain": VALUE,
    "basic": base64.b64encode(b":" + VALUE.encode()).decode(),
    **{
        f"base64 at {start}": base64.b64encode(b"user:"[:start] + VALUE.encode() + b"tail").decode()
        for start in range(4)
    },
    "url-safe base64": base64.urlsafe_b64encode(b"..." + VALUE.encode()).decode(),
    "quoted": quote(VALUE, safe=""),
    "hex": VALUE.encode().hex(),
    "json": json.dumps({"token": VALUE}),
    "reversed": VALUE[::-1],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_search_finds_a_canary_when_spelled_in_any_way(name: str) -> None:
    search = CanarySearch({Canary(PAT, VALUE)})
    for shift in range(CUT):
        data = b"x" * shift + SPELLINGS[name].encode() + b"\n"
        assert [found.kinds for found in search.find(data, "log")][:1] == [{PAT}]


def test_search_finds_every_cut_of_a_canary_when_it_stands_anywhere() -> None:
    search = CanarySearch({Canary(PAT, VALUE)})
    for start in range(len(VALUE) - CUT + 1):
        cut = VALUE[start : start + CUT].encode()
        for shift in range(CUT):
            [found] = search.find(b"\0" * shift + cut + b"\0" * 7, "log")
            assert found.excerpt == cut
        assert list(search.find(b"\0" + cut[1:] + b"\0" * 30, "log")) == []


def test_search_finds_any_part_of_a_token_but_the_public_ids_in_it() -> None:
    """The sign-in library logs the ids in base64, in a document of its own."""
    for space in range(3):
        token = base64.urlsafe_b64encode(json.dumps({" " * space + "tid": TENANT_ID, "oid": VALUE}).encode()).decode()
        search = CanarySearch({Canary(DEVOPS_BEARER, token)})
        for shift in range(3):
            client_info = " " * shift + json.dumps({"uid": "1", "utid": TENANT_ID})
            assert list(search.find(base64.b64encode(client_info.encode()), "log")) == []
        assert list(search.find(token[:30].encode(), "log"))
        assert list(search.find(token[-30:].encode(), "log"))


def _record(service: str, method: str, path: str, headers: dict[str, str], body: str) -> RecordedRequest:
    request = Request(method, path, {}, {"host": "localhost", **headers}, body.encode(), "https://localhost")
    return RequestRecord().add(service, request, datetime.now(UTC))


PROBE, STORE, TOKEN = "/contoso/_apis/connectionData", "/secrets/contoso-ci", "/tenant/oauth2/v2.0/token"
PAT_VALUE, BEARER, REFRESH = "p" + "0a1b2c3d" * 6, "eyJ" + "4e5f6g7h" * 6, "1.A" + "8i9j0k1l" * 6
BASIC = "Basic " + base64.b64encode(f":{PAT_VALUE}".encode()).decode()
CANARIES = {Canary(PAT, PAT_VALUE), Canary(DEVOPS_BEARER, BEARER), Canary(REFRESH_TOKEN, REFRESH)}


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (PAT, _record("azure_devops", "GET", PROBE, {"authorization": BASIC}, "")),
        (PAT, _record("key_vault", "PUT", STORE, {}, json.dumps({"value": PAT_VALUE}))),
        (DEVOPS_BEARER, _record("azure_devops", "POST", "/tokens/pats", {"authorization": f"Bearer {BEARER}"}, "")),
        (REFRESH_TOKEN, _record("entra", "POST", TOKEN, {}, f"refresh_token={REFRESH}")),
    ],
)
def test_secret_is_no_stray_when_it_goes_where_it_belongs(kind: str, entry: RecordedRequest) -> None:
    assert find_strays(CanarySearch(CANARIES), entry) == ([], {(kind, entry.service)})


@pytest.mark.parametrize(
    "entry",
    [
        _record("azure_devops", "GET", "/contoso/_apis/tokens/pats", {"authorization": BASIC}, ""),
        _record("azure_devops", "POST", "/tokens/pats", {"authorization": f"Bearer {PAT_VALUE}"}, ""),
        _record("azure_devops", "GET", f"{PROBE}/{PAT_VALUE}", {}, ""),
        _record("azure_devops", "POST", "/tokens/pats", {}, PAT_VALUE),
        _record("key_vault", "GET", STORE, {"authorization": f"Bearer {BEARER}"}, ""),
        _record("key_vault", "PUT", STORE, {"x-tag": PAT_VALUE}, ""),
        _record("key_vault", "PUT", STORE, {}, json.dumps({"value": "", "tags": {"was": PAT_VALUE[:30]}})),
        _record("entra", "POST", TOKEN, {"authorization": f"Bearer {BEARER}"}, ""),
        _record("entra", "POST", TOKEN, {}, f"assertion={BEARER}"),
        _record("entra", "GET", "/authorize", {}, f"refresh_token={REFRESH}"),
        _record("azure_devops", "GET", PROBE, {"cookie": REFRESH}, ""),
    ],
)
def test_secret_is_a_stray_when_it_goes_to_another_service_or_place(entry: RecordedRequest) -> None:
    strays, rightful = find_strays(CanarySearch(CANARIES | {Canary(VAULT_BEARER, "eyK" + "2m3n4o5p" * 6)}), entry)
    assert strays
    assert rightful == set()
