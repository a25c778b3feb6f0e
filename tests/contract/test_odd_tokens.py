"""Tokens and the answers around them that no library is ready for: our own error, and the next request goes on."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.key_vault.credentials import CredentialKind, make_credential
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, DeniedError, RemoteError, TransientError, VerificationError
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, TENANT_ID
from tests.support.azure_devops import SandboxAzureDevOps
from tests.support.raw_server import GARBLED, make_json_answer, run_raw_server
from tests.support.signing_in import Stage, spell_out
from tests.support.stop import make_stop
from tests.support.vault import SandboxVault, run_vault

HEADER = "an-identity-header-of-this-host"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as running:
        running.start_over("contoso-ci")
        yield running


def make_token(**fields: object) -> bytes:
    """What the host's identity service answers, with these fields."""
    token = {"access_token": "t", "expires_on": "4102444800", "resource": "x", "token_type": "Bearer"}
    return json.dumps({**token, **fields}).encode()


ODD_BODIES = {
    "a list": b"[]",
    "null": b"null",
    "text": b'"token"',
    "a number": b"7",
    "nothing": b"",
    "not JSON": b"<html>",
    "no UTF-8": b"\xff\xfe",
    "many levels": b"[" * 60 + b"]" * 60,
    "a token that is an object": make_token(access_token={}),
    "a token that is half a surrogate": make_token(access_token="t\ud800"),
    "a token with a line break": make_token(access_token="t\nX: y"),
    "an empty token": make_token(access_token=""),
    "no expiry": make_token(expires_on=None),
    "an endless expiry": make_token(expires_on=10**400),
    "an expiry of no number": make_token(expires_on="soon"),
    "an infinite expiry": b'{"access_token": "t", "expires_on": Infinity, "resource": "x", "token_type": "Bearer"}',
    "an expiry that is a list": make_token(expires_on=[], expires_in=[]),
    "an error that is an object": b'{"error": {"code": ["x"], "message": 7}}',
}


def fetch_with_identity(vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> RemoteError:
    """What a store tells whose host's identity service answers so."""
    with run_raw_server(answer) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/token")
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        entra = vault.sandbox.addresses.entra_url
        credential = make_credential(
            "managed_identity", authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock)
        )
        store = vault.make_store(credential=credential)
        with pytest.raises(RemoteError) as caught:
            store.fetch_latest(vault.location)
        store.close()
    assert "Report it" not in caught.value.fix
    return caught.value


@pytest.mark.parametrize("what", ODD_BODIES)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Oops"])
def test_hosts_identity_that_answers_oddly_is_our_own_error(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, what: str, status: str
) -> None:
    error = fetch_with_identity(vault, monkeypatch, make_json_answer(ODD_BODIES[what], status))
    assert isinstance(error, DeniedError | TransientError)
    assert error.code.startswith("vault_credential")


@pytest.mark.parametrize("what", GARBLED)
def test_hosts_identity_that_speaks_no_http_is_our_own_error(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    assert fetch_with_identity(vault, monkeypatch, GARBLED[what]).code.startswith("vault_credential")


@pytest.mark.parametrize("part", [HEADER, HEADER[:9], HEADER[10:18]])
def test_hosts_identity_that_repeats_its_header_is_not_quoted(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    body = json.dumps({"error": "denied", "error_description": f"{part} is wrong", "message": part}).encode()
    error = fetch_with_identity(vault, monkeypatch, make_json_answer(body, "401 Unauthorized"))
    assert part not in spell_out(error)


@pytest.mark.parametrize("field", ["access_token", "refresh_token"])
def test_sign_in_refuses_a_token_that_cannot_be_sent_and_keeps_the_one_it_has(
    vault: SandboxVault, tmp_path: Path, field: str
) -> None:
    stage = Stage(vault.sandbox, tmp_path)
    stage.sign_in.login_with_device_code(ACCOUNT, stage.approve())
    stage.clock.sleep(3700)
    body = json.dumps({"access_token": "t", "expires_in": 3600, "token_type": "Bearer", field: "half\ud800"})
    vault.world.faults.add(Fault("entra", "status", method="POST", times=1, status=200, body=body))
    with pytest.raises(TransientError) as caught:
        stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert caught.value.code == "entra_unexpected"
    assert stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE).value.reveal() != "t"
    stage.close()


def test_pat_with_half_a_surrogate_is_refused_as_any_wrong_one(vault: SandboxVault) -> None:
    azure_devops = SandboxAzureDevOps(vault.sandbox)
    with pytest.raises(VerificationError):
        azure_devops.service.verify("contoso", SecretValue("half\ud800"))
    azure_devops.service.close()


@pytest.mark.parametrize("name", [b"ci \xed\xa0\x80", b"ci \xff", b"ci \\ud800"])
def test_minted_value_is_kept_when_another_field_is_no_text(vault: SandboxVault, name: bytes) -> None:
    """The value can be used; the name tells the caller that the answer is odd."""
    azure_devops = SandboxAzureDevOps(vault.sandbox)
    body = (
        b'{"patToken": {"displayName": "%b", "scope": "vso.code", "targetAccounts": null, "token": "the-value", '
        b'"validFrom": "2026-12-01T00:00:00Z", "validTo": "2026-12-31T00:00:00Z", '
        b'"authorizationId": "00000001-1111-4222-8333-444444444444"}, "patTokenError": "none"}' % name
    )
    vault.world.faults.add(Fault("azure_devops", "status", method="POST", times=1, status=200, body=body))
    valid_to = azure_devops.clock.now()
    minted = azure_devops.service.mint(
        ACCOUNT, "contoso", display_name="ci", scope="vso.code", valid_to=valid_to, permit=unclaimed
    )
    azure_devops.service.close()
    assert minted.value is not None
    assert minted.value.reveal() == "the-value"
    assert "\ufffd" in minted.pat.display_name


@pytest.mark.parametrize("variable", ["AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"])
@pytest.mark.parametrize("kind", ["default", "environment", "workload_identity"])
def test_nobody_waits_for_a_file_of_the_hosts_identity_that_is_a_pipe(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind, variable: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv(variable, str(pipe))
    entra = vault.sandbox.addresses.entra_url
    with pytest.raises(ConfigError) as refused:
        make_credential(kind, authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock))
    assert f"{variable} names no file" in refused.value.message


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [("token_endpoint", "unexpected response"), ("device_authorization_endpoint", "does not begin with https://")],
)
def test_nothing_is_sent_where_a_sign_in_would_not_be_encrypted(
    vault: SandboxVault, tmp_path: Path, endpoint: str, said: str
) -> None:
    stage = Stage(vault.sandbox, tmp_path)
    authority = vault.sandbox.addresses.entra_url
    found = stage.person.get(f"{authority}/{TENANT_ID}/v2.0/.well-known/openid-configuration").json()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found[endpoint] = f"http://127.0.0.1:{listener.getsockname()[1]}/{TENANT_ID}/oauth2/v2.0/token"
        headers = {"Content-Type": "application/json"}
        body = json.dumps(found)
        vault.world.faults.add(Fault("entra", "status", "GET", times=None, status=200, body=body, headers=headers))
        with pytest.raises(TransientError) as caught:
            stage.login()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    vault.world.faults.clear()
    stage.close()
    assert caught.value.code == "entra_unexpected"
    assert said in caught.value.message


@pytest.mark.parametrize(
    "place",
    [
        "https://localhost:{port}",
        "http://127.0.0.1:{port}",
        "https://127.0.0.1",
        "https://[",
        "https://evil@127.0.0.1:{port}",
    ],
)
def test_token_stays_at_its_vault_when_a_list_goes_on_elsewhere(vault: SandboxVault, place: str) -> None:
    vault.store.fetch_latest(vault.location)
    vault.world.record.clear()
    link = place.format(port=vault.location.vault.rpartition(":")[2]) + "/secrets?api-version=7.6&$skiptoken=x"
    headers, body = {"Content-Type": "application/json"}, json.dumps({"value": [], "nextLink": link})
    vault.world.faults.add(Fault("key_vault", "status", "GET", times=3, status=200, body=body, headers=headers))
    with pytest.raises(TransientError) as caught:
        vault.store.fetch_tagged(vault.location.vault, "", "rotator-attempt")
    assert caught.value.code == "vault_answer"
    assert len(vault.requests("GET")) == 3, "one for each try, and none for a second page"


@pytest.mark.parametrize(
    "place",
    [
        # urllib3, which sends requests, ends the host at a backslash; Python's own parser, which looks, does not.
        "https://127.0.0.1:{other}\\@127.0.0.1:{port}",
        "https://127.0.0.1:{other}\\.x@127.0.0.1:{port}",
        "https:\\\\127.0.0.1:{other}",
        "https:\\/127.0.0.1:{other}",
        "https://127.0.0.1:{port}\\@127.0.0.1:{other}",
        "https://127.0.0.1:{other}\t@127.0.0.1:{port}",
        "https://127.0.0.1:{other}@127.0.0.1:{port}",
    ],
)
def test_no_request_leaves_for_another_host_that_only_one_parser_sees(vault: SandboxVault, place: str) -> None:
    vault.store.fetch_latest(vault.location)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, other = vault.location.vault.rpartition(":")[2], listener.getsockname()[1]
        link = place.format(port=port, other=other) + "/secrets?api-version=7.6&$skiptoken=x"
        headers, body = {"Content-Type": "application/json"}, json.dumps({"value": [], "nextLink": link})
        vault.world.faults.add(Fault("key_vault", "status", "GET", times=1, status=200, body=body, headers=headers))
        with suppress(RemoteError):
            vault.store.fetch_tagged(vault.location.vault, "", "rotator-attempt")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
