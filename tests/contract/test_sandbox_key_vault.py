"""The Key Vault stand-in answers as the real one: its client works with it, its bodies fit our schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import jsonschema
import pytest
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, TENANT_ID, USER_ID, VAULT
from rotator.sandbox.world import Vault

SCHEMAS = Path(__file__).parent / "sandbox_schemas"
Document = dict[str, object]


class FixedCredential:
    """A credential that always has the same token and notes which scopes and tenant it was asked for."""

    def __init__(self, value: str) -> None:
        self._value = value
        self.asked: list[tuple[tuple[str, ...], object]] = []

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.asked.append((scopes, options.get("tenant_id")))
        return AccessToken(self._value, int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))


class Desk:
    """A test's desk: the sandbox, a client of its vault, and a session for bare requests."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.url = sandbox.addresses.key_vault_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(sandbox.addresses.ca_path)
        self.token = self.issue("key_vault")
        self.credential = FixedCredential(self.token)
        self.client = self.make_client(self.credential)

    @property
    def vault(self) -> Vault:
        return self.sandbox.world.vaults[VAULT]

    def issue(self, resource: str) -> str:
        world = self.sandbox.world
        return world.issue_access_token(world.users[USER_ID], resource, CLIENT_ID).value

    def make_client(self, credential: FixedCredential | ClientSecretCredential) -> SecretClient:
        return SecretClient(
            self.url,
            credential,
            connection_verify=str(self.sandbox.addresses.ca_path),
            verify_challenge_resource=False,
            retry_total=0,
        )

    def ask(self, method: str, path: str, body: object = None, **query: str) -> requests.Response:
        return self.session.request(
            method,
            f"{self.url}/{path}",
            params={"api-version": "7.6", **query},
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Sandbox(tmp_path, seed_demo=False) as sandbox:
        made = Desk(sandbox)
        with made.session, made.client:
            yield made


def check(answer: requests.Response, schema: str, status: int = 200) -> Document:
    """The body of an answer that has this status and fits this schema."""
    assert answer.status_code == status, answer.text
    body = cast(Document, answer.json())
    jsonschema.validate(body, json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return body


def read_codes(error: HttpResponseError) -> tuple[object, object, object]:
    """Status, code and inner code of a failure as the real client gives it."""
    assert error.response is not None
    body = json.loads(error.response.text())
    jsonschema.validate(body, json.loads((SCHEMAS / "key_vault_error.json").read_text()))
    return error.status_code, body["error"]["code"], body["error"].get("innererror", {}).get("code")


# Reading and writing


def test_secret_comes_back_as_written_when_set_with_everything(desk: Desk) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    starts = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    tags = {"rotation": "r1", "predecessor": ""}
    written = desk.client.set_secret(
        "contoso-ci", "value-1", content_type="text/plain", tags=tags, expires_on=expires, not_before=starts
    )
    read = desk.client.get_secret("contoso-ci")
    assert read.value == "value-1"
    assert read.id == written.id == f"{desk.url}/secrets/contoso-ci/{read.properties.version}"
    assert (read.properties.content_type, read.properties.tags) == ("text/plain", tags)
    assert (read.properties.expires_on, read.properties.not_before) == (expires, starts)
    assert read.properties.enabled
    check(desk.ask("GET", "secrets/contoso-ci"), "key_vault_secret")
    check(desk.ask("PUT", "secrets/contoso-ci", {"value": "x"}), "key_vault_secret")


def test_each_version_stays_readable_when_newer_ones_are_set(desk: Desk) -> None:
    versions = [desk.client.set_secret("twice", value).properties.version for value in ("one", "two")]
    assert desk.client.get_secret("twice").value == "two"
    assert [desk.client.get_secret("twice", version).value for version in versions] == ["one", "two"]
    assert desk.client.get_secret("TWICE").value == "two"


def test_tags_are_replaced_and_the_rest_stays_when_a_version_is_patched(desk: Desk) -> None:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    old = desk.client.set_secret("tagged", "value", tags={"a": "1", "b": "2"}, expires_on=expires)
    patched = desk.client.update_secret_properties("tagged", old.properties.version, tags={"intent": "r1"})
    assert (patched.tags, patched.expires_on, patched.version) == (
        {"intent": "r1"},
        expires,
        old.properties.version,
    )
    body = {"contentType": "text/plain", "attributes": {"enabled": True}}
    check(desk.ask("PATCH", f"secrets/tagged/{old.properties.version}", body), "key_vault_version")
    assert desk.client.get_secret("tagged").properties.content_type == "text/plain"


def test_disabled_version_cannot_be_read_but_enabled_again(desk: Desk) -> None:
    version = desk.client.set_secret("off", "value").properties.version
    desk.client.update_secret_properties("off", version, enabled=False)
    for asked in (None, version):
        with pytest.raises(HttpResponseError) as refused:
            desk.client.get_secret("off", asked)
        assert read_codes(refused.value) == (403, "Forbidden", "SecretDisabled")
    desk.client.update_secret_properties("off", version, enabled=True)
    assert desk.client.get_secret("off").value == "value"


def test_secret_is_readable_when_it_has_expired(desk: Desk) -> None:
    desk.client.set_secret("old", "value", expires_on=datetime(2020, 1, 1, tzinfo=UTC))
    assert desk.client.get_secret("old").value == "value"


def test_versions_come_in_pages_without_values_when_there_are_many(desk: Desk) -> None:
    written = {desk.client.set_secret("many", f"value-{number}").properties.version for number in range(60)}
    listed = [entry.version for entry in desk.client.list_properties_of_secret_versions("many")]
    assert len(listed) == 60
    assert set(listed) == written
    page = check(desk.ask("GET", "secrets/many/versions"), "key_vault_page")
    assert len(cast(list[object], page["value"])) == 25
    small = check(desk.ask("GET", "secrets/many/versions", maxresults="7"), "key_vault_page")
    assert len(cast(list[object], small["value"])) == 7
    headers = {"Authorization": f"Bearer {desk.token}"}
    follow = check(desk.session.get(str(small["nextLink"]), headers=headers), "key_vault_page")
    assert len(cast(list[object], follow["value"])) == 7


def test_secrets_are_listed_without_version_when_alive(desk: Desk) -> None:
    for number in range(30):
        desk.client.set_secret(f"secret-{number:02}", "value")
    desk.client.begin_delete_secret("secret-07").wait()
    names = [entry.name for entry in desk.client.list_properties_of_secrets()]
    assert names == [f"secret-{number:02}" for number in range(30) if number != 7]
    page = check(desk.ask("GET", "secrets"), "key_vault_page")
    assert cast(list[Document], page["value"])[0]["id"] == f"{desk.url}/secrets/secret-00"


# What is not there


def test_missing_things_are_404_when_the_caller_may_know(desk: Desk) -> None:
    version = desk.client.set_secret("here", "value").properties.version
    for call in (
        lambda: desk.client.get_secret("nowhere"),
        lambda: desk.client.get_secret("here", "0" * 32),
        lambda: desk.client.update_secret_properties("nowhere", version, tags={}),
        lambda: desk.client.update_secret_properties("here", "0" * 32, tags={}),
        lambda: desk.client.get_deleted_secret("here"),
        lambda: desk.client.begin_delete_secret("nowhere"),
        lambda: list(desk.client.list_properties_of_secret_versions("nowhere")),
    ):
        with pytest.raises(ResourceNotFoundError) as refused:
            call()
        assert read_codes(refused.value) == (404, "SecretNotFound", None)


# Soft deletion


def test_deleted_name_is_taken_until_it_is_recovered(desk: Desk) -> None:
    desk.client.set_secret("gone", "value")
    deleted = desk.client.begin_delete_secret("gone").result()
    assert deleted.recovery_id == f"{desk.url}/deletedsecrets/gone"
    with pytest.raises(ResourceExistsError) as refused:
        desk.client.set_secret("gone", "new")
    assert read_codes(refused.value) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    with pytest.raises(ResourceNotFoundError):
        desk.client.get_secret("gone")
    assert [entry.name for entry in desk.client.list_deleted_secrets()] == ["gone"]
    check(desk.ask("GET", "deletedsecrets/gone"), "key_vault_deleted_secret")
    check(desk.ask("GET", "deletedsecrets"), "key_vault_page")

    desk.client.begin_recover_deleted_secret("gone").wait()
    assert desk.client.get_secret("gone").value == "value"
    check(desk.ask("DELETE", "secrets/gone"), "key_vault_deleted_secret")
    check(desk.ask("POST", "deletedsecrets/gone/recover"), "key_vault_version")


def test_deleted_name_is_free_when_purged_or_after_ninety_days(desk: Desk) -> None:
    for name in ("purged", "aged"):
        desk.client.set_secret(name, "old")
        desk.client.begin_delete_secret(name).wait()
    desk.client.purge_deleted_secret("purged")
    assert desk.client.set_secret("purged", "new").value == "new"
    desk.sandbox.world.clock.advance(timedelta(days=90))
    desk.token = desk.issue("key_vault")
    check(desk.ask("PUT", "secrets/aged", {"value": "new"}), "key_vault_secret")


# Limits


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("under_score", {"value": "x"}),
        ("n" * 128, {"value": "x"}),
        ("fine", {}),
        ("fine", {"value": 5}),
        ("fine", ["value"]),
        ("fine", {"value": "x" * 25_601}),
        ("fine", {"value": "x", "contentType": "c" * 256}),
        ("fine", {"value": "x", "tags": {str(number): "" for number in range(16)}}),
        ("fine", {"value": "x", "tags": {"t" * 257: ""}}),
        ("fine", {"value": "x", "tags": {"t": "v" * 257}}),
        ("fine", {"value": "x", "tags": {"t": None}}),
        ("fine", {"value": "x", "attributes": {"exp": "tomorrow"}}),
        ("fine", {"value": "x", "attributes": {"exp": 10**20}}),
        ("fine", {"value": "x", "attributes": {"exp": 100, "nbf": 200}}),
        ("fine", {"value": "x", "attributes": {"enabled": "yes"}}),
    ],
)
def test_write_is_a_bad_parameter_when_it_breaks_a_limit(desk: Desk, name: str, body: object) -> None:
    answer = desk.ask("PUT", f"secrets/{name}", body)
    assert cast(Document, check(answer, "key_vault_error", 400)["error"])["code"] == "BadParameter"
    assert not desk.vault.secrets


def test_write_is_accepted_when_it_reaches_every_limit(desk: Desk) -> None:
    tags = {f"{number:0256}": "v" * 256 for number in range(15)}
    body = {"value": "x" * 25_600, "contentType": "c" * 255, "tags": tags}
    check(desk.ask("PUT", "secrets/" + "n" * 127, body), "key_vault_secret")


@pytest.mark.parametrize("query", [{"maxresults": "0"}, {"maxresults": "26"}, {"$skiptoken": "nonsense"}])
def test_list_is_a_bad_parameter_when_its_page_is(desk: Desk, query: Mapping[str, str]) -> None:
    check(desk.ask("GET", "secrets", None, **query), "key_vault_error", 400)


def test_request_is_a_bad_parameter_when_it_names_no_api_version(desk: Desk) -> None:
    headers = {"Authorization": f"Bearer {desk.token}"}
    check(desk.session.get(f"{desk.url}/secrets", headers=headers), "key_vault_error", 400)


# Who may


def test_challenge_names_tenant_and_resource_when_there_is_no_token(desk: Desk) -> None:
    answer = desk.session.get(f"{desk.url}/secrets/any", params={"api-version": "7.6"})
    check(answer, "key_vault_error", 401)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer authorization=")
    assert f'/{TENANT_ID}", resource="https://vault.azure.net"' in challenge
    desk.client.set_secret("any", "value")
    assert desk.credential.asked[0] == (("https://vault.azure.net/.default",), TENANT_ID)


@pytest.mark.parametrize("kind", ["another resource", "expired", "invented"])
def test_token_is_refused_when_it_is_not_a_live_one_for_key_vault(desk: Desk, kind: str) -> None:
    value = desk.issue("azure_devops") if kind == "another resource" else desk.issue("key_vault")
    if kind == "expired":
        desk.sandbox.world.clock.advance(timedelta(hours=1))
    with (
        desk.make_client(FixedCredential("x" if kind == "invented" else value)) as client,
        pytest.raises(ClientAuthenticationError) as refused,
    ):
        client.get_secret("any")
    assert read_codes(refused.value) == (401, "Unauthorized", None)


def test_permission_is_checked_before_existence_when_an_operation_is_denied(desk: Desk) -> None:
    desk.client.set_secret("here", "value")
    desk.vault.denied_operations.add("set")
    for call in (
        lambda: desk.client.set_secret("here", "new"),
        lambda: desk.client.update_secret_properties("here", tags={}),
        lambda: desk.client.update_secret_properties("nowhere", "0" * 32, tags={}),
    ):
        with pytest.raises(HttpResponseError) as refused:
            call()
        assert read_codes(refused.value) == (403, "Forbidden", "ForbiddenByPolicy")
    assert desk.client.get_secret("here").value == "value"


def test_refusal_names_its_cause_when_roles_subject_firewall_or_failover_forbid(desk: Desk) -> None:
    desk.client.set_secret("here", "value")
    desk.vault.read_only = True
    assert desk.client.get_secret("here").value == "value"
    with pytest.raises(HttpResponseError) as refused:
        desk.client.set_secret("here", "new")
    assert read_codes(refused.value)[0] == 403
    desk.vault.denied_subjects.add(USER_ID)
    desk.sandbox.key_vault.configure({"rbac_vaults": [VAULT]})
    with pytest.raises(HttpResponseError) as refused:
        desk.client.get_secret("here")
    assert read_codes(refused.value) == (403, "Forbidden", "ForbiddenByRbac")
    desk.vault.firewall = True
    with pytest.raises(HttpResponseError) as refused:
        desk.client.get_secret("here")
    assert read_codes(refused.value) == (403, "Forbidden", "ForbiddenByFirewall")


def test_request_is_throttled_with_retry_after_when_told_so(desk: Desk) -> None:
    desk.sandbox.key_vault.configure({"throttled_requests": 2, "retry_after_seconds": 7})
    with pytest.raises(HttpResponseError) as refused:
        desk.client.set_secret("any", "value")
    assert read_codes(refused.value) == (429, "Throttled", None)
    assert desk.ask("GET", "secrets").headers["Retry-After"] == "7"
    assert desk.client.set_secret("any", "value").value == "value"


def test_service_principal_writes_when_it_signs_in_with_its_secret(desk: Desk) -> None:
    desk.sandbox.entra.configure({"apps": {CLIENT_ID: {"public": False, "secret": "made-up"}}})
    credential = ClientSecretCredential(
        TENANT_ID,
        CLIENT_ID,
        "made-up",
        authority=desk.sandbox.addresses.entra_url,
        disable_instance_discovery=True,
        connection_verify=str(desk.sandbox.addresses.ca_path),
    )
    with credential, desk.make_client(credential) as client:
        assert client.set_secret("by-robot", "value").value == "value"


@pytest.mark.parametrize("document", [{"unknown": 1}, {"throttled_requests": -1}, {"rbac_vaults": ["no-such-vault"]}])
def test_settings_are_refused_when_one_is_bad(desk: Desk, document: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        desk.sandbox.key_vault.configure({"retry_after_seconds": 9, **document})
    assert desk.sandbox.key_vault.state.retry_after_seconds == 1
