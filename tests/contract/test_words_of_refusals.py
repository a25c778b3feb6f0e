"""What refusals of the services mean, in words that help: each was told wrongly, or not at all, before."""

from __future__ import annotations

import errno
import io
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from sqlalchemy.engine import make_url

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.database.failures import explain
from rotator.adapters.disk import choose_fix
from rotator.adapters.entra.refusals import Asked, make_refusal
from rotator.adapters.key_vault.credentials import GuardedCredential
from rotator.adapters.logs import configure_logging, reset_logging
from rotator.errors import DeniedError, RejectedError, RotatorError, SignInRequiredError, TransientError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, USERNAME
from tests.support.azure_devops import SandboxAzureDevOps
from tests.support.signing_in import Stage, spell_out
from tests.support.vault import SandboxVault, run_vault

FORBIDDEN = "Caller is not authorized to perform action on resource build-read-only."
RBAC = (
    "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
    "definitions were changed recently, please observe propagation time.\r\nCaller: appid=0b7f41c9-58d3-4c0e-b6a1-"
    "2e9d8c7f6a50;oid=3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906;iss=https://sts.windows.net/6f89cf12/\r\nAction: "
    "'Microsoft.KeyVault/vaults/secrets/setSecret/action'\r\nResource: '/subscriptions/1/resourcegroups/r'\r\n"
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Sandbox(tmp_path / "sandbox", seed_demo=False) as sandbox:
        stage = Stage(sandbox, tmp_path)
        yield stage
        stage.close()


@pytest.fixture(scope="module")
def running_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as vault:
        yield vault


@pytest.fixture
def vault(running_vault: SandboxVault) -> SandboxVault:
    running_vault.start_over("contoso-ci")
    running_vault.store.fetch_latest(running_vault.location)
    return running_vault


def answer(service: str, method: str | None, path: str, status: int, body: object, times: int | None = None) -> Fault:
    headers = {"Content-Type": "application/json"}
    return Fault(service, "status", method, path, times, status=status, body=json.dumps(body), headers=headers)


# Sign-ins.


@pytest.mark.parametrize("refresh_token", [None, ""])
@pytest.mark.parametrize("way", ["device code", "browser"])
def test_login_is_none_when_entra_sends_no_refresh_token(stage: Stage, way: str, refresh_token: str | None) -> None:
    body = {
        "token_type": "Bearer",
        "scope": AZURE_DEVOPS_SCOPE,
        "expires_in": 3599,
        "ext_expires_in": 3599,
        "access_token": "eyJ0eXAiOiJKV1QifQ.e30.c2ln",
        "id_token": "eyJ0eXAiOiJKV1QifQ.e30.c2ln",
        **({} if refresh_token is None else {"refresh_token": refresh_token}),
    }
    stage.world.faults.add(answer("entra", "POST", "/token", 200, body))
    ways: Mapping[str, Callable[[], object]] = {
        "device code": stage.login,
        "browser": lambda: stage.sign_in.login_with_browser(ACCOUNT, stage.browse(), stage.http.total_timeout),
    }
    with pytest.raises(SignInRequiredError) as refused:
        ways[way]()
    assert refused.value.code == "no_refresh_token"
    assert refused.value.exit_code == 10
    assert USERNAME in refused.value.message
    assert "offline_access" in refused.value.fix
    assert stage.sign_in.status(ACCOUNT).username is None
    assert not stage.cache_path.exists()


@pytest.mark.parametrize("number", [70017, 70018, 70019, 70020, 90033, 53003, 65004])
def test_person_declined_whatever_the_number_says(stage: Stage, number: int) -> None:
    body = {
        "error": "authorization_declined",
        "error_description": f"AADSTS{number}: the request was declined.",
        "error_codes": [number],
    }
    stage.world.faults.add(answer("entra", "POST", "/token", 400, body))
    with pytest.raises(SignInRequiredError) as refused:
        stage.login()
    assert refused.value.code == "sign_in_declined"
    assert "declined" in refused.value.message
    assert "in time" not in refused.value.message


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("path", ["devicecode", "openid-configuration"])
def test_login_is_to_be_repeated_by_the_person_when_entra_is_busy(stage: Stage, path: str, status: int) -> None:
    stage.world.faults.add(Fault("entra", "status", path=path, status=status, times=None))
    with pytest.raises(TransientError) as failed:
        stage.login()
    assert f"rotator login {ACCOUNT}" in failed.value.fix
    assert "Nothing to do" not in failed.value.fix


PROMISES = ("Nothing to do", "tries again", "waits", "later")


@pytest.mark.parametrize("status", [503, 429])
def test_refresh_promises_no_further_try_when_entra_is_busy(stage: Stage, status: int) -> None:
    stage.login()
    stage.clock.sleep(3600)
    stage.world.faults.add(Fault("entra", "status", "POST", status=status, times=None))
    with pytest.raises(TransientError) as failed:
        stage.sign_in.refresh(ACCOUNT)
    assert failed.value.fix.startswith("This usually passes by itself")
    assert not [word for word in PROMISES if word in failed.value.fix]


@pytest.mark.parametrize("path", ["openid-configuration", "/token"])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "Forbidden", "message": "no"}},
        {"error": "forbidden"},
        {"error": ["no"]},
        {"error": 5},
        *({"error": "forbidden", "error_codes": [code]} for code in (True, 0, -1, 403, 10**4000, "50076")),
    ],
)
def test_nobody_has_to_sign_in_when_a_gateway_refuses_in_entras_place(stage: Stage, path: str, body: object) -> None:
    """A refusal of Entra would be remembered until a person signs in."""
    stage.login()
    stage.clock.sleep(3600)
    stage.world.faults.add(answer("entra", None, path, 403, body))
    with pytest.raises(TransientError) as failed:
        stage.sign_in.refresh(ACCOUNT)
    assert failed.value.code == "entra_unexpected"
    assert "proxy" in failed.value.fix
    stage.world.faults.clear()
    assert stage.sign_in.refresh(ACCOUNT).access_expires_at is not None


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("service", ["azure_devops", "key_vault"])
def test_service_promises_no_further_try_when_it_is_busy(vault: SandboxVault, service: str, status: int) -> None:
    azure_devops = SandboxAzureDevOps(vault.sandbox)
    calls: dict[str, Callable[[], object]] = {
        "azure_devops": lambda: azure_devops.service.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE),
        "key_vault": lambda: vault.store.fetch_latest(vault.location),
    }
    vault.world.faults.add(Fault(service, "status", "GET", status=status, times=None))
    with pytest.raises(TransientError) as failed:
        calls[service]()
    azure_devops.service.close()
    vault.world.faults.clear()
    assert failed.value.fix.startswith("This usually passes by itself")
    assert not [word for word in PROMISES if word in failed.value.fix]


def test_refusal_repeats_nothing_harmful_of_entras_words() -> None:
    asked = Asked("bot", "bot@contoso.com", "app", "contoso.com", "https://login", AZURE_DEVOPS_SCOPE, "refresh_token")
    said = "odd\x1b[2J eyJhbGciOiJub25lIn0.e30.x " + "y" * 5000
    answer = {"error": said, "error_description": said, "error_codes": [999999], "correlation_id": said}
    refusal = make_refusal(answer, asked)
    assert isinstance(refusal, SignInRequiredError)
    assert "\x1b" not in refusal.message
    assert "eyJ" not in refusal.message
    assert len(refusal.message) < 1000


# Vaults.


def fail(vault: SandboxVault) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        vault.store.prove_writable(vault.location, {"a": "b"}, permit=unclaimed)
    return caught.value


def test_deleted_secret_is_to_be_recovered_when_it_was_disabled_before(vault: SandboxVault) -> None:
    vault.write_foreign("value", {}, enabled=False)
    vault.soft_delete()
    error = fail(vault)
    assert isinstance(error, RejectedError)
    assert error.code == "secret_soft_deleted"
    assert "deleted (and was disabled before)" in error.message
    assert error.fix.index("secret recover") < error.fix.index("--enabled true")


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("contoso-ci", "ForbiddenByRbac", FORBIDDEN),
        ("build-read-only", "", "Not authorized on secret build-read-only."),
        ("readonly", "AccessDenied", "No rights on ReadOnly."),
    ],
)
def test_permission_is_missing_when_only_a_name_says_readonly(
    vault: SandboxVault, name: str, code: str, text: str
) -> None:
    vault.start_over(name)
    vault.write_foreign("value", {})
    vault.store.fetch_latest(vault.location)
    body = {"error": {"code": "Forbidden", "message": text, "innererror": {"code": code} if code else None}}
    vault.world.faults.add(answer("key_vault", "PATCH", "secrets", 403, body))
    error = fail(vault)
    assert isinstance(error, DeniedError)
    assert error.code == "vault_denied"
    assert "Key Vault Secrets Officer" in error.fix


def test_failover_is_waited_for_when_the_vault_says_so(vault: SandboxVault) -> None:
    vault.write_foreign("value", {})
    vault.vault.read_only = True
    error = fail(vault)
    vault.vault.read_only = False
    assert (error.code, isinstance(error, TransientError)) == ("vault_read_only", True)


def test_secret_that_is_being_deleted_is_waited_for(vault: SandboxVault) -> None:
    body = {
        "error": {
            "code": "Conflict",
            "message": "Secret contoso-npm-feed is currently being deleted.",
            "innererror": {"code": "ObjectIsBeingDeleted"},
        }
    }
    vault.world.faults.add(answer("key_vault", "PUT", "secrets", 409, body))
    with pytest.raises(TransientError) as caught:
        vault.put("value")
    assert "is being deleted" in caught.value.message


def test_refusal_names_the_missing_action_although_it_comes_last(vault: SandboxVault) -> None:
    body = {"error": {"code": "Forbidden", "message": RBAC, "innererror": {"code": "ForbiddenByRbac"}}}
    vault.world.faults.add(answer("key_vault", "PUT", "secrets", 403, body))
    with pytest.raises(DeniedError) as caught:
        vault.put("value")
    assert "setSecret/action" in caught.value.message
    assert "oid=3f7a1c52" in caught.value.message


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (301, {"Location": "https://127.0.0.1:9/"}, "it redirected"),
        (403, {"Content-Type": "text/html"}, "no reason given"),
        (407, {"Proxy-Authenticate": "Basic"}, "no reason given"),
    ],
)
def test_proxies_are_named_when_a_vault_refuses_without_a_reason(
    vault: SandboxVault, status: int, headers: Mapping[str, str], said: str
) -> None:
    vault.world.faults.add(Fault("key_vault", "status", status=status, body="<html>", headers=headers, times=None))
    with pytest.raises(RotatorError) as caught:
        vault.store.fetch_latest(vault.location)
    vault.world.faults.clear()
    assert said in caught.value.message
    assert "no proxy answers instead of the vault" in caught.value.fix


def test_challenge_of_no_vault_asks_for_nothing(vault: SandboxVault) -> None:
    headers = {"WWW-Authenticate": "Negotiate"}
    vault.world.faults.add(Fault("key_vault", "status", status=401, headers=headers, times=None))
    with pytest.raises(DeniedError) as caught:
        vault.store.fetch_latest(vault.location)
    vault.world.faults.clear()
    assert "for a token for nothing, not for Key Vault" in caught.value.message


class _Failing:
    """A credential that fails with a library's long words."""

    def __init__(self, words: str) -> None:
        self._words = words

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise ClientAuthenticationError(self._words)


@pytest.mark.parametrize("noise", ["", "\n\tOther: " + "x " * 400, "\n\tOther: one\n\tAnother: two" * 9])
def test_credential_failure_keeps_the_reason_of_the_last_one_tried(noise: str) -> None:
    words = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
        "\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not "
        "fully configured.\nVisit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to "
        f"troubleshoot this issue.{noise}\n"
        "\tAzureCliCredential: the Azure CLI failed: ERROR: AADSTS50173: the password was changed\n"
        "To mitigate this issue, please refer to the troubleshooting guidelines here at "
        "https://aka.ms/azsdk/python/identity/defaultazurecredential/troubleshoot."
    )
    credential = GuardedCredential(_Failing(words), "https://kv.example")
    with pytest.raises(DeniedError) as caught:
        credential.get_token("https://vault.azure.net/.default")
    assert "AADSTS50173" in caught.value.message
    assert "EnvironmentCredential" in caught.value.message
    assert "aka.ms" not in caught.value.message
    assert len(caught.value.message) < 1100


# This host.


def test_full_disk_needs_space_and_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "cache.bin"
    for number in (errno.ENOSPC, errno.EDQUOT):
        assert (
            choose_fix(OSError(number, "full"), path, "permissions") == f"Free space on the disk that holds {tmp_path}."
        )
    assert choose_fix(OSError(errno.EACCES, "no"), path, "permissions") == "permissions"
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR | (19 << 8)  # SQLITE_IOERR_SHMSIZE: no space for the index of the WAL
    explained = explain(error, make_url(f"sqlite:///{path}"))
    assert "free space" in explained.fix
    assert "user" not in explained.fix


@pytest.mark.parametrize(("level", "is_shown"), [("warning", False), ("info", False), ("debug", True)])
def test_libraries_complaints_are_shown_only_for_debugging(vault: SandboxVault, level: str, is_shown: bool) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level=level, as_json=True)
    secret: Mapping[str, object] = {
        "value": "v",
        "id": f"{vault.location.vault}/secrets/contoso-ci/{'0' * 32}",
        "attributes": {"enabled": True, "created": "soon"},
    }
    try:
        vault.world.faults.add(answer("key_vault", "GET", "secrets", 200, secret))
        with pytest.raises(TransientError) as caught:
            vault.store.fetch_latest(vault.location)
        logging.getLogger("azure.identity").warning("a complaint of the library")
        logging.getLogger("rotator").warning("a complaint of ours")
    finally:
        reset_logging()
    assert ("a complaint of the library" in stream.getvalue()) == is_shown
    assert "a complaint of ours" in stream.getvalue()
    assert "Traceback" not in stream.getvalue() or is_shown
    assert "soon" not in spell_out(caught.value)
