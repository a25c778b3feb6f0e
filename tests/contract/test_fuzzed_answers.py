"""Made-up answers through the real HTTP adapters: no exception but ours, and one bad entry harms one entry.

Each call ends after few requests, short waits by the world's clock, and little memory; `http.total_timeout` bounds the
time of a request.
"""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.adapters.azure_devops.pat_service import AzureDevOpsPatService
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError, TransientError, UnknownOutcomeError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import TENANT_ID, USER_ID
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps
from tests.support.signing_in import Stage
from tests.support.vault import SandboxVault, run_vault

ID = "6f3d2c1b-0a9e-4c8d-b7f6-5e4d3c2b1a09"
PAT = {
    "displayName": "npm-feed",
    "validTo": "2099-12-20T09:00:00Z",
    "scope": "vso.packaging",
    "targetAccounts": [ID],
    "validFrom": "2026-11-20T09:00:00.3333333Z",
    "authorizationId": "00000001-1111-4222-8333-444444444444",
    "token": None,
}
SOUND = [{**PAT, "authorizationId": f"{number:08d}-1111-4222-8333-444444444444"} for number in range(2, 6)]
IDENTITY = {"authenticatedUser": {"id": USER_ID, "providerDisplayName": "Build Bot"}, "instanceId": ID}
SECRET = {
    "value": "a-value",
    "id": "https://127.0.0.1/secrets/contoso-ci/0123456789abcdef0123456789abcdef",
    "attributes": {"enabled": True, "created": 1, "updated": 1, "exp": 2, "recoveryLevel": "Recoverable"},
    "tags": {"rotator-attempt": "1"},
    "contentType": "text/plain",
}
VERSIONS = {"value": [{name: SECRET[name] for name in ("id", "attributes", "tags")}], "nextLink": None}
REFUSAL = {"error": {"code": "Forbidden", "message": "No.", "innererror": {"code": "ForbiddenByRbac"}}}
FRAMEWORK = {"typeKey": "SomeException", "message": "No.", "innerException": None}
TOKEN = {
    "token_type": "Bearer",
    "scope": "499b84ac-1321-427f-aa17-267ca6975798/.default",
    "expires_in": 3599,
    "ext_expires_in": 3599,
    "refresh_in": 1800,
    "access_token": "eyJ0eXAiOiJKV1QifQ.e30.c2ln",
    "refresh_token": "0.AAAA",
    "id_token": "eyJ0eXAiOiJKV1QifQ.eyJvaWQiOiJ4In0.c2ln",
    "client_info": "eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ",
}
ENTRA_REFUSAL = {
    "error": "invalid_grant",
    "error_description": "AADSTS50076: no.",
    "error_codes": [50076],
    "suberror": "",
}
DEVICE_CODE = {
    "user_code": "ABC",
    "device_code": "code",
    "verification_uri": "https://127.0.0.1/device",
    "expires_in": 900,
    "interval": 5,
    "message": "Enter it.",
}
STATUSES = st.sampled_from((200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 429, 500, 503))
HEADERS = st.dictionaries(
    st.sampled_from(("Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-VSS-E2EID", "x-ms-request-id")),
    st.sampled_from(("-5", "soon", "1000000000", "Fri, 31 Dec 2037 23:59:59 GMT", "nan", "1e400", "0", "", "x" * 900)),
    max_size=2,
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(("soon", "1e400", "\ud83d", "2026-13-01", "9" * 400, "x" * 5000, 10**400, -1, "https://[")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
LONGEST_WAIT = timedelta(minutes=16)
"""By the world's clock, for one call: a device code is polled for as long as it is valid."""
MOST_REQUESTS = 12
MOST_MEMORY = 8 << 20
"""Bytes that one call may have at a time, with what the sandbox has for it."""


def list_places(document: Any, place: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Where a document has a value, the document itself included."""
    found = [place]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += list_places(value, (*place, key))
    return found


@st.composite
def damaged(draw: st.DrawFn, *documents: object) -> object:
    """One of the documents, with something else at one or two of its places, or with a key less."""
    document: Any = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list_places(document)))
        if not place:
            return draw(ODD)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[place[-1]]
        else:
            holder[place[-1]] = draw(ODD)
    return document


@dataclass
class Services:
    """The real adapters on one sandbox."""

    vault: SandboxVault
    azure_devops: SandboxAzureDevOps
    stage: Stage

    @property
    def pats(self) -> AzureDevOpsPatService:
        """Azure DevOps."""
        return self.azure_devops.service

    def ask(self, fault: Fault, call: Callable[[], object]) -> Any:
        """What the call returns, or the error of ours that it raises, in words and within what a call may cost."""
        found = self._call(fault, call)
        if isinstance(found, RotatorError):
            assert 0 < len(found.message) < 2000
            assert found.fix
        return found

    def _call(self, fault: Fault, call: Callable[[], object]) -> object:
        self.vault.world.faults.clear()
        self.vault.world.faults.add(fault)
        self.vault.world.record.clear()
        began_at, slept = self.vault.world.clock.now(), len(self.vault.clock.slept)
        tracemalloc.start()
        try:
            return call()
        except RotatorError as error:
            return error
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.vault.world.faults.clear()
            waited = self.vault.world.clock.now() - began_at + timedelta(seconds=sum(self.vault.clock.slept[slept:]))
            assert waited < LONGEST_WAIT
            assert len(self.vault.world.record.all()) <= MOST_REQUESTS
            assert peak < MOST_MEMORY


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as vault:
        vault.start_over("contoso-ci")
        azure_devops = SandboxAzureDevOps(vault.sandbox)
        stage = Stage(vault.sandbox, tmp_path_factory.mktemp("cache"))
        yield Services(vault, azure_devops, stage)
        stage.close()
        azure_devops.service.close()


@pytest.fixture(autouse=True)
def token_of_today(services: Services) -> None:
    """Another token for the vault: a test before may have moved the clock on."""
    services.vault.credential.revoke()


FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def make_fault(
    service: str, status: int, document: object, headers: Mapping[str, str], method: str | None = None, path: str = ""
) -> Fault:
    return Fault(
        service,
        "status",
        method,
        path,
        None,
        status=status,
        body=json.dumps(document),
        headers={**headers, "Content-Type": "application/json"},
    )


@FUZZ
@given(odd=st.lists(damaged(PAT), min_size=1, max_size=3), where=st.integers(0, 4))
def test_listing_keeps_the_sound_entries_when_others_are_odd(services: Services, odd: list[object], where: int) -> None:
    entries = [*SOUND[:where], *odd, *SOUND[where:]]
    fault = make_fault("azure_devops", 200, {"continuationToken": "", "patTokens": entries}, {})
    found = services.ask(fault, lambda: services.pats.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE))
    assert not isinstance(found, RotatorError)
    assert {pat.authorization_id for pat in found} >= {str(entry["authorizationId"]) for entry in SOUND}


@FUZZ
@given(
    document=damaged(
        {"continuationToken": "", "patTokens": [PAT]}, {"patToken": PAT, "patTokenError": "none"}, IDENTITY, FRAMEWORK
    ),
    status=STATUSES,
    headers=HEADERS,
)
@pytest.mark.parametrize("name", ["list", "get", "mint", "revoke", "identity", "verify"])
def test_azure_devops_raises_only_our_errors_when_the_answer_is_odd(
    services: Services, name: str, document: object, status: int, headers: Mapping[str, str]
) -> None:
    pats, identifier = services.pats, str(PAT["authorizationId"])
    valid_to = services.vault.world.clock.now() + timedelta(days=30)
    calls: Mapping[str, Callable[[], object]] = {
        "list": lambda: pats.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE),
        "get": lambda: pats.fetch_pat(ACCOUNT, "contoso", identifier),
        "mint": lambda: pats.mint(
            ACCOUNT, "contoso", display_name="x", scope="vso.code", valid_to=valid_to, permit=unclaimed
        ),
        "revoke": lambda: pats.revoke(ACCOUNT, "contoso", identifier, permit=unclaimed),
        "identity": lambda: pats.fetch_identity(ACCOUNT, "contoso"),
        "verify": lambda: pats.verify("contoso", SecretValue("a-pat")),
    }
    services.ask(make_fault("azure_devops", status, document, headers), calls[name])


@FUZZ
@given(document=damaged(SECRET, VERSIONS, REFUSAL), status=STATUSES, headers=HEADERS)
@pytest.mark.parametrize("name", ["latest", "versions", "names", "store", "disable", "prove", "plain"])
def test_vault_raises_only_our_errors_when_the_answer_is_odd(
    services: Services, name: str, document: object, status: int, headers: Mapping[str, str]
) -> None:
    vault, location = services.vault, services.vault.location
    vault.store.fetch_latest(location)  # so that the challenge is known
    calls: Mapping[str, Callable[[], object]] = {
        "latest": lambda: vault.store.fetch_latest(location),
        "versions": lambda: vault.store.fetch_versions(location),
        "names": lambda: vault.store.fetch_tagged(location.vault, "", "rotator-attempt"),
        "store": lambda: vault.put("value"),
        "disable": lambda: vault.store.disable(location, "0" * 32, permit=unclaimed),
        "prove": lambda: vault.store.prove_writable(location, {"a": "b"}, permit=unclaimed),
        "plain": lambda: vault.store.fetch_plain_secret(location.vault, location.name),
    }
    services.ask(make_fault("key_vault", status, document, headers), calls[name])


@FUZZ
@given(document=damaged(TOKEN, ENTRA_REFUSAL), status=STATUSES, headers=HEADERS)
@pytest.mark.parametrize("name", ["refresh", "login"])
def test_entra_raises_only_our_errors_when_the_token_answer_is_odd(
    services: Services, name: str, document: object, status: int, headers: Mapping[str, str]
) -> None:
    stage = services.stage
    if name == "refresh":
        stage.login()
        stage.clock.sleep(3600)
    fault = make_fault("entra", status, document, headers, "POST", "/token")
    services.ask(fault, lambda: stage.sign_in.refresh(ACCOUNT) if name == "refresh" else stage.login())
    stage.sign_in.status(ACCOUNT)


@FUZZ
@given(document=damaged(DEVICE_CODE, ENTRA_REFUSAL), status=STATUSES, headers=HEADERS)
def test_entra_raises_only_our_errors_when_the_device_code_is_odd(
    services: Services, document: object, status: int, headers: Mapping[str, str]
) -> None:
    fault = make_fault("entra", status, document, headers, "POST", "devicecode")
    services.ask(fault, lambda: services.stage.sign_in.login_with_device_code(ACCOUNT, lambda prompt: None))


@FUZZ
@given(data=st.data(), status=STATUSES)
def test_entra_raises_only_our_errors_when_the_discovery_is_odd(
    services: Services, data: st.DataObject, status: int
) -> None:
    url = services.vault.sandbox.addresses.entra_url
    discovery = services.stage.person.get(f"{url}/{TENANT_ID}/v2.0/.well-known/openid-configuration").json()
    document = data.draw(damaged(discovery, ENTRA_REFUSAL))
    services.ask(make_fault("entra", status, document, {}, "GET"), services.stage.login)


@pytest.mark.parametrize(
    "field",
    [
        {"expires_in": "soon"},
        {"expires_in": None},
        {"expires_in": 10**400},
        {"access_token": {"error": "no"}},
        {"refresh_token": ["0.AAAA"]},
        {"id_token": 7},
    ],
)
def test_refresh_keeps_the_sign_in_when_one_answer_is_odd(services: Services, field: Mapping[str, object]) -> None:
    stage = services.stage
    stage.login()
    stage.clock.sleep(3600)
    fault = make_fault("entra", 200, {**TOKEN, **field}, {}, "POST", "/token")
    found = services.ask(fault, lambda: stage.sign_in.refresh(ACCOUNT))
    assert isinstance(found, TransientError)
    assert found.code == "entra_unexpected"
    assert next(iter(field)) in found.message
    assert stage.sign_in.refresh(ACCOUNT).access_expires_at is not None


@pytest.mark.parametrize(
    ("field", "value"), [("interval", "often"), ("expires_in", "soon"), ("verification_uri", {"uri": 1})]
)
def test_login_says_so_when_the_device_code_makes_no_sense(services: Services, field: str, value: object) -> None:
    fault = make_fault("entra", 200, {**DEVICE_CODE, field: value}, {}, "POST", "devicecode")
    found = services.ask(fault, lambda: services.stage.sign_in.login_with_device_code(ACCOUNT, lambda prompt: None))
    assert isinstance(found, TransientError)
    assert field in found.message


@pytest.mark.parametrize(
    "secret",
    [
        {**SECRET, "value": {"nested": ["value"]}},
        {**SECRET, "tags": ["a"]},
        {**SECRET, "tags": {"rotator-attempt": {"a": 1}}},
        {**SECRET, "attributes": True},
        {**SECRET, "attributes": {"enabled": True, "created": "soon"}},
        {**SECRET, "id": None},
    ],
)
def test_secret_is_one_bad_answer_when_its_parts_make_no_sense(
    services: Services, secret: Mapping[str, object]
) -> None:
    vault, location = services.vault, services.vault.location
    vault.store.fetch_latest(location)
    found = services.ask(make_fault("key_vault", 200, secret, {}), lambda: vault.store.fetch_latest(location))
    assert isinstance(found, TransientError)
    assert found.code == "vault_answer"
    written = services.ask(make_fault("key_vault", 200, secret, {}), lambda: vault.put("value"))
    assert isinstance(written, UnknownOutcomeError) or secret["value"] != SECRET["value"]


@pytest.mark.parametrize("wait", ["1000000000", "Fri, 31 Dec 2037 23:59:59 GMT"])
def test_no_service_makes_a_caller_wait_for_more_than_an_hour(services: Services, wait: str) -> None:
    headers = {"Retry-After": wait}
    services.stage.login()
    services.stage.clock.sleep(3600)
    services.vault.credential.revoke()
    vault, stage = services.vault, services.stage
    vault.store.fetch_latest(vault.location)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("key_vault", lambda: vault.store.fetch_latest(vault.location)),
        ("entra", lambda: stage.sign_in.refresh(ACCOUNT)),
        ("azure_devops", lambda: services.pats.fetch_identity(ACCOUNT, "contoso")),
    ]
    for service, call in calls:
        found = services.ask(make_fault(service, 503, {}, headers), call)
        assert isinstance(found, TransientError)
        assert found.retry_after == 3600
