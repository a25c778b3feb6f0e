"""The real vault adapter on the sandbox when things go wrong: what is repeated, what is raised, what never leaks."""

from __future__ import annotations

import io
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.credentials import CredentialKind, GuardedCredential, make_credential
from rotator.adapters.stop import ProcessStop
from rotator.domain.secret_value import SecretValue
from rotator.errors import (
    ConfigError,
    DeniedError,
    FailureKind,
    RejectedError,
    RemoteError,
    RotatorError,
    SignInRequiredError,
    StoppedError,
    TransientError,
    UnknownOutcomeError,
)
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation
from rotator.sandbox.certificates import write_certificates
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import CLIENT_ID, TENANT_ID
from tests.support.stop import StoppingFaults, make_stop, make_stop_in_wait
from tests.support.vault import SandboxVault, run_vault

CANARY = "canary-value-that-must-not-show-3f9a"


@pytest.fixture(scope="module")
def running_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as vault:
        yield vault


@pytest.fixture
def vault(running_vault: SandboxVault) -> SandboxVault:
    running_vault.start_over("contoso-ci")
    return running_vault


def plant(vault: SandboxVault, kind: str, method: str = "PUT", **options: Any) -> None:
    """A fault that strikes requests with a bearer: the one before has the challenge cached."""
    vault.store.fetch_latest(vault.location)
    vault.world.record.clear()
    vault.world.faults.add(Fault("key_vault", kind, method, **options))


# What is sent, and how often.


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "truncated", "malformed", "late"])
def test_store_is_sent_once_when_the_answer_is_lost(vault: SandboxVault, kind: str) -> None:
    plant(vault, kind)
    with pytest.raises(UnknownOutcomeError) as caught:
        vault.put(CANARY)
    assert len(vault.requests("PUT")) == 1
    assert caught.value.operation == "store_secret"
    assert "contoso-ci" in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_store_is_sent_once_when_the_vault_breaks(vault: SandboxVault, status: int) -> None:
    plant(vault, "status", status=status, headers={"Retry-After": "1"})
    with pytest.raises(UnknownOutcomeError) as caught:
        vault.put(CANARY)
    assert caught.value.status == status
    assert len(vault.requests("PUT")) == 1
    assert vault.clock.slept == []


def test_store_is_sent_once_when_the_vault_is_silent(vault: SandboxVault) -> None:
    plant(vault, "hang")
    http = HttpOptions(ca_bundle=vault.http.ca_bundle, read_timeout=timedelta(seconds=0.2))
    store = vault.make_store(http=http)
    try:
        with pytest.raises(UnknownOutcomeError) as caught:
            store.store(
                vault.location,
                SecretValue(CANARY),
                expires_at=vault.world.clock.now(),
                tags={"rotation": "r1"},
                permit=unclaimed,
            )
    finally:
        store.close()
    assert caught.value.code == "read_timeout"
    assert "http.read_timeout" in caught.value.fix
    assert len(vault.requests("PUT")) == 1


def test_store_tells_the_wait_when_the_vault_is_busy(vault: SandboxVault) -> None:
    plant(vault, "rate_limited", seconds=7)
    with pytest.raises(TransientError) as caught:
        vault.put(CANARY)
    assert caught.value.code == "vault_throttled"
    assert caught.value.retry_after == 7
    assert len(vault.requests("PUT")) == 1
    assert vault.versions() == []


def test_store_certainly_did_nothing_when_no_connection_could_be_made(vault: SandboxVault) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
    location = SecretLocation(address, "contoso-ci", "build-bot")
    with pytest.raises(TransientError) as caught:
        vault.store.store(location, SecretValue(CANARY), expires_at=vault.world.clock.now(), tags={}, permit=unclaimed)
    assert caught.value.code == "connection_refused"
    assert address.removeprefix("https://") in caught.value.message
    assert "address" in caught.value.fix


def test_store_certainly_did_nothing_when_the_certificate_is_not_trusted(vault: SandboxVault, tmp_path: Path) -> None:
    other_ca, _ = write_certificates(tmp_path)
    store = vault.make_store(http=HttpOptions(ca_bundle=other_ca))
    try:
        with pytest.raises(TransientError) as caught:
            store.store(
                vault.location, SecretValue(CANARY), expires_at=vault.world.clock.now(), tags={}, permit=unclaimed
            )
    finally:
        store.close()
    assert caught.value.code == "tls_untrusted"
    assert "http.ca_bundle" in caught.value.fix


def test_store_carries_type_and_whole_tags_when_it_is_sent(vault: SandboxVault) -> None:
    vault.put("value", {"rotation": "r1"})
    assert vault.versions()[0].content_type == "application/vnd.azure-devops.pat"
    assert vault.versions()[0].tags == {"rotation": "r1"}


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "truncated", "malformed"])
def test_fetch_is_repeated_when_the_answer_is_lost(vault: SandboxVault, kind: str) -> None:
    vault.put("value")
    plant(vault, kind, "GET", times=2)
    stored = vault.store.fetch_latest(vault.location)
    assert stored is not None
    assert stored.value.reveal() == "value"
    assert len(vault.requests("GET")) == 3
    assert vault.clock.slept == [0.5, 1.0]


def test_fetch_is_not_repeated_when_the_stop_comes_in_the_pause(vault: SandboxVault) -> None:
    plant(vault, "status", "GET", status=503, times=None)
    store = vault.make_store(stop=make_stop_in_wait())
    with pytest.raises(StoppedError):
        store.fetch_latest(vault.location)
    with pytest.raises(StoppedError):
        store.fetch_latest(vault.location)
    assert len(vault.requests("GET")) == 1
    store.close()


def start_stopping(vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> ProcessStop:
    """Return a stop that comes while the request is open that this fault, a latency, hits."""
    stop = ProcessStop()
    faults = StoppingFaults(stop)
    faults.add(fault)
    monkeypatch.setattr(vault.world, "faults", faults)
    vault.world.record.clear()
    return stop


@pytest.mark.parametrize("is_finishing", [False, True])
@pytest.mark.parametrize(("number", "left"), [(0, 4), (1, 3), (2, 2), (4, 0)])
def test_list_ends_where_the_stop_comes_unless_a_value_exists_only_in_memory(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, number: int, left: int, is_finishing: bool
) -> None:
    """Four pages, and then the newest version, as all are of the same second; nothing is left to stop after that."""
    for count in range(80):
        vault.write_foreign(f"value {count}", {})
    stop = start_stopping(vault, monkeypatch, Fault("key_vault", "latency", path="/secrets/", skip=number))
    store = vault.make_store(stop=stop)

    with stop.finishing(timedelta(minutes=1)) if is_finishing or not left else pytest.raises(StoppedError):
        assert len(store.fetch_versions(vault.location)) == 80

    assert stop.is_set
    assert len(vault.world.record.all("key_vault")) == 1 + number + (left if is_finishing else 0)
    store.close()


@pytest.mark.usefixtures("service_principal")
@pytest.mark.parametrize("kind", ["environment", "default"])
def test_hosts_credential_sends_no_secret_after_the_stop(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
) -> None:
    stop = start_stopping(vault, monkeypatch, Fault("entra", "latency", path="openid-configuration"))
    entra = vault.sandbox.addresses.entra_url
    credential = make_credential(kind, authority=entra, instance_discovery=False, http=vault.http, stop=stop)
    store = vault.make_store(credential=credential, stop=stop)

    with pytest.raises(StoppedError):
        store.fetch_latest(vault.location)

    assert stop.is_set
    assert [entry.method for entry in vault.world.record.all("entra")] == ["GET"]
    store.close()


@pytest.mark.parametrize("status", [500, 503])
def test_fetch_gives_up_when_the_vault_stays_broken(vault: SandboxVault, status: int) -> None:
    plant(vault, "status", "GET", status=status, times=None)
    with pytest.raises(TransientError) as caught:
        vault.store.fetch_latest(vault.location)
    assert caught.value.status == status
    asked = f"the vault {urlsplit(vault.location.vault).netloc} answered {status} "
    assert caught.value.message.startswith(asked)
    assert f"when asked for {vault.location.name}" in caught.value.message
    assert len(vault.requests("GET")) == 3


def test_broken_vault_that_is_asked_for_all_names_names_no_secret(vault: SandboxVault) -> None:
    plant(vault, "status", "GET", status=503, times=None)
    with pytest.raises(TransientError) as caught:
        vault.store.fetch_tagged(vault.location.vault, "", "rotator-attempt")
    assert "when asked for its secrets" in caught.value.message


def test_fetch_waits_as_told_when_the_vault_is_busy_for_a_moment(vault: SandboxVault) -> None:
    vault.put("value")
    plant(vault, "rate_limited", "GET", seconds=2)
    assert vault.store.fetch_latest(vault.location) is not None
    assert vault.clock.slept == [2.0]


def test_fetch_leaves_the_wait_to_the_caller_when_it_is_long(vault: SandboxVault) -> None:
    plant(vault, "rate_limited", "GET", seconds=60)
    with pytest.raises(TransientError) as caught:
        vault.store.fetch_latest(vault.location)
    assert caught.value.retry_after == 60
    assert vault.clock.slept == []
    assert len(vault.requests("GET")) == 1


def test_disable_is_repeated_when_the_answer_is_lost(vault: SandboxVault) -> None:
    version = vault.put("value")
    plant(vault, "lost_after", "PATCH")
    vault.store.disable(vault.location, version, permit=unclaimed)
    assert not vault.versions()[0].enabled
    assert len(vault.requests("PATCH")) == 2


def test_fetch_versions_reads_every_page_when_there_are_many(vault: SandboxVault) -> None:
    written = []
    for _ in range(60):
        vault.world.clock.advance(timedelta(seconds=2))
        written.append(vault.put("value"))
    listed = vault.store.fetch_versions(vault.location)
    assert [entry.version for entry in listed] == written[::-1]


def test_fetch_versions_shows_no_part_when_a_page_is_missing(vault: SandboxVault) -> None:
    for _ in range(30):
        vault.put("value")
    plant(vault, "status", "GET", path="skiptoken", status=500, times=None)
    with pytest.raises(TransientError):
        vault.store.fetch_versions(vault.location)


# What other answers become.


@pytest.mark.parametrize("status", [302, 307])
def test_redirect_is_refused_and_not_followed_when_the_vault_sends_one(vault: SandboxVault, status: int) -> None:
    target = vault.sandbox.addresses.entra_url
    plant(vault, "status", status=status, headers={"Location": f"{target}/elsewhere"})
    with pytest.raises(RejectedError):
        vault.put(CANARY)
    assert [entry.path for entry in vault.world.record.all("entra")] == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_page_is_not_taken_for_an_answer_when_a_proxy_sends_one(vault: SandboxVault, method: str) -> None:
    plant(
        vault,
        "status",
        method,
        status=200,
        headers={"Content-Type": "text/html"},
        body="<html>hello</html>",
        times=None,
    )
    expected = TransientError if method == "GET" else UnknownOutcomeError
    with pytest.raises(expected) as caught:
        vault.put(CANARY) if method == "PUT" else vault.store.fetch_latest(vault.location)
    assert caught.value.code == "vault_answer"
    assert "proxy" in caught.value.fix


@pytest.mark.parametrize("body", [[], {}, {"value": None}, {"value": "x", "id": 7}, "text", {"attributes": [1]}])
def test_store_has_an_unknown_outcome_when_the_answer_makes_no_sense(vault: SandboxVault, body: object) -> None:
    plant(vault, "status", status=200, body=body)
    with pytest.raises(UnknownOutcomeError):
        vault.put(CANARY)


def test_name_is_rejected_when_the_vault_does_not_take_it(vault: SandboxVault) -> None:
    location = SecretLocation(vault.location.vault, "not_a_name", "build-bot")
    with pytest.raises(RejectedError) as caught:
        vault.store.store(location, SecretValue(CANARY), expires_at=vault.world.clock.now(), tags={}, permit=unclaimed)
    assert caught.value.status == 400
    assert caught.value.request_id
    assert "BadParameter" in caught.value.message


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "contoso-kv", "", "https://"])
def test_vault_is_rejected_when_its_address_is_none(vault: SandboxVault, address: str) -> None:
    with pytest.raises(RejectedError) as caught:
        vault.store.fetch_latest(SecretLocation(address, "contoso-ci", "build-bot"))
    assert caught.value.code == "vault_address"


def test_write_can_wait_when_the_vault_has_failed_over(vault: SandboxVault) -> None:
    vault.vault.read_only = True
    with pytest.raises(TransientError) as caught:
        vault.put(CANARY)
    assert caught.value.code == "vault_read_only"


def test_denial_names_both_ways_out_when_a_permission_is_missing(vault: SandboxVault) -> None:
    vault.deny("set")
    with pytest.raises(DeniedError) as caught:
        vault.put(CANARY)
    assert "Key Vault Secrets Officer" in caught.value.fix
    assert "set-policy" in caught.value.fix
    assert "`set`" in caught.value.fix
    assert caught.value.request_id
    assert caught.value.request_id in caught.value.message


def test_soft_deletion_names_the_command_that_ends_it(vault: SandboxVault) -> None:
    vault.put("value")
    vault.soft_delete()
    with pytest.raises(RejectedError) as caught:
        vault.put(CANARY)
    assert caught.value.fix.startswith("Run: az keyvault secret recover --vault-name ")
    assert caught.value.fix.endswith("--name contoso-ci")


# Tokens and credentials.


def test_token_is_renewed_when_the_vault_no_longer_takes_it(vault: SandboxVault) -> None:
    vault.put("value")
    vault.credential.revoke()
    assert vault.store.fetch_latest(vault.location) is not None


def test_denied_when_the_vault_takes_no_token(vault: SandboxVault) -> None:
    store = vault.make_store(credential=_Fixed("not-a-token-of-the-sandbox"))
    try:
        with pytest.raises(DeniedError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert (caught.value.code, caught.value.kind) == ("vault_unauthenticated", FailureKind.DENIED)
    assert caught.value.status == 401


def test_denied_when_the_challenge_is_of_another_domain(vault: SandboxVault) -> None:
    store = vault.make_store(verify=True)
    try:
        with pytest.raises(DeniedError) as caught:
            store.store(
                vault.location, SecretValue(CANARY), expires_at=vault.world.clock.now(), tags={}, permit=unclaimed
            )
    finally:
        store.close()
    assert (caught.value.code, caught.value.kind) == ("vault_challenge", FailureKind.DENIED)
    assert "key_vault.verify_challenge_resource" in caught.value.fix
    assert vault.versions() == []


@pytest.mark.parametrize(
    "resource",
    [
        "https://management.azure.com",
        "499b84ac-1321-427f-aa17-267ca6975798",
        "https://vault.azure.net.evil.example",
        'https://evil.example", claims="e30=',
        "",
    ],
)
def test_denied_when_the_challenge_wants_a_token_for_another_service(tmp_path: Path, resource: str) -> None:
    asked: list[tuple[str, ...]] = []
    with run_vault(tmp_path) as vault:
        vault.start_over("contoso-ci")
        vault.sandbox.key_vault.state.resource = resource
        store = vault.make_store(credential=_Asked(vault.credential, asked), verify=False)
        with pytest.raises(DeniedError) as caught:
            store.store(
                vault.location, SecretValue(CANARY), expires_at=vault.world.clock.now(), tags={}, permit=unclaimed
            )
        assert caught.value.code == "challenge_refused"
        assert asked == []
        assert vault.requests("PUT") == []
        vault.sandbox.key_vault.state.resource = "https://vault.azure.net"
        assert store.fetch_latest(vault.location) is None, "one hostile challenge is not remembered"
        store.close()


@pytest.mark.parametrize("scopes", [("https://management.azure.com/.default",), ("https://vault.azure.net",), ()])
def test_hosts_credential_is_asked_for_no_token_of_another_service(
    scopes: tuple[str, ...], vault: SandboxVault
) -> None:
    """Whatever the library made of a challenge that we read otherwise."""
    asked: list[tuple[str, ...]] = []
    credential = GuardedCredential(_Asked(vault.credential, asked), "https://contoso-kv.vault.azure.net")
    with pytest.raises(DeniedError) as caught:
        credential.get_token(*scopes)
    assert caught.value.code == "challenge_refused"
    assert asked == []


@pytest.mark.parametrize("suffix", ["vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn"])
def test_vault_of_a_national_cloud_is_read_when_its_challenge_names_it(tmp_path: Path, suffix: str) -> None:
    asked: list[tuple[str, ...]] = []
    with run_vault(tmp_path) as vault:
        vault.start_over("contoso-ci")
        vault.sandbox.key_vault.state.resource = f"https://{suffix}"
        store = vault.make_store(credential=_Asked(vault.credential, asked), verify=False)
        assert store.fetch_latest(vault.location) is None
        store.close()
    assert asked == [(f"https://{suffix}/.default",)]


def test_our_own_error_passes_unchanged_when_the_credential_raises_it(vault: SandboxVault) -> None:
    needed = SignInRequiredError("sign in", account="build-bot", fix="Run: rotator login build-bot")
    store = vault.make_store(credential=_Failing(needed))
    try:
        with pytest.raises(SignInRequiredError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert caught.value is needed


def test_credential_is_blamed_when_it_gives_no_token(vault: SandboxVault) -> None:
    store = vault.make_store(credential=_Failing(ClientAuthenticationError("no luck: eyJhbGciOiJub25lIn0.e30.x")))
    try:
        with pytest.raises(DeniedError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert caught.value.code == "vault_credential_refused"
    assert "key_vault.credential" in caught.value.fix
    assert "no luck: ***" in caught.value.message


def test_entra_is_blamed_when_the_credential_cannot_reach_it(vault: SandboxVault) -> None:
    failure = ClientAuthenticationError("Authentication failed")
    failure.__cause__ = ServiceRequestError("no route")
    store = vault.make_store(credential=_Failing(failure))
    try:
        with pytest.raises(TransientError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert caught.value.code == "vault_credential_unreachable"


def test_reads_show_the_version_before_the_newest_when_the_vault_is_behind(vault: SandboxVault) -> None:
    """What was written can be read by its id all the same."""
    end = vault.world.clock.now() + timedelta(days=30)
    first, second = (
        vault.store.store(vault.location, SecretValue(value), expires_at=end, tags={}, permit=unclaimed)
        for value in ("old", "new")
    )
    plant(vault, "stale", "GET", times=None)
    latest = vault.store.fetch_latest(vault.location)
    assert latest is not None
    assert latest.version.version == first
    assert [version.version for version in vault.store.fetch_versions(vault.location)] == [first]
    written = vault.store.fetch_version(vault.location, second)
    assert written is not None
    assert written.value.reveal() == "new"


def test_secret_holds_what_somebody_else_wrote_when_a_request_is_overtaken(vault: SandboxVault) -> None:
    """The request goes on: a read shows it, a write comes above it."""
    first = vault.put("ours")
    plant(vault, "overtaken", "GET", body="theirs")
    latest = vault.store.fetch_latest(vault.location)
    assert latest is not None
    assert (latest.value.reveal(), latest.version.tags) == ("theirs", {})
    plant(vault, "overtaken", body="theirs too")
    last = vault.put("ours again")
    assert vault.vault.secrets[vault.location.name].versions[-1].version == last
    versions = {version.version for version in vault.store.fetch_versions(vault.location)}
    assert versions > {first, latest.version.version, last}
    assert len(versions) == 4


def make_answer(vault: SandboxVault, name: str, version: str = "0" * 32) -> dict[str, object]:
    """What the vault answers about a version of some secret."""
    attributes = {"enabled": True, "created": 1_700_000_000, "updated": 1_700_000_000}
    return {"id": f"{vault.location.vault}/secrets/{name}/{version}", "value": CANARY, "attributes": attributes}


@pytest.mark.parametrize("name", ["of-others", "contoso-ci-2"])
def test_read_is_no_answer_when_it_is_about_another_secret(vault: SandboxVault, name: str) -> None:
    """By its name, by its version and in a list."""
    store, location, mine = vault.store, vault.location, vault.put("mine")
    answer = make_answer(vault, name, mine)
    reads: tuple[Callable[[SecretLocation], object], ...] = (
        store.fetch_latest,
        lambda at: store.fetch_version(at, mine),
        store.fetch_versions,
    )
    for body, read in zip((answer, answer, {"value": [answer]}), reads, strict=True):
        plant(vault, "status", "GET", status=200, body=body, times=None)
        with pytest.raises(TransientError) as caught:
            read(location)
        assert (caught.value.code, CANARY in str(caught.value)) == ("vault_answer", False)
        vault.world.faults.clear()


def test_read_of_a_version_is_no_answer_when_it_is_another_version(vault: SandboxVault) -> None:
    first = vault.put("mine")
    plant(vault, "status", "GET", status=200, body=make_answer(vault, vault.location.name), times=None)
    with pytest.raises(TransientError, match="unexpected response"):
        vault.store.fetch_version(vault.location, first)


def test_read_is_answered_when_the_name_comes_in_other_letters(vault: SandboxVault) -> None:
    plant(vault, "status", "GET", status=200, body=make_answer(vault, vault.location.name.upper()))
    assert vault.store.fetch_latest(vault.location) is not None


@pytest.mark.parametrize("effect", [True, False])
def test_store_is_unknown_when_the_answer_is_about_another_secret(vault: SandboxVault, effect: bool) -> None:
    plant(vault, "status", status=200, body=make_answer(vault, "of-others"), effect=effect)
    with pytest.raises(UnknownOutcomeError) as caught:
        vault.put(CANARY)
    assert caught.value.code == "vault_answer"
    assert len(vault.requests("PUT")) == 1
    assert (vault.store.fetch_latest(vault.location) is not None) == effect


def test_store_that_did_nothing_is_not_found_when_its_answer_says_done(vault: SandboxVault) -> None:
    plant(vault, "status", status=200, body=make_answer(vault, vault.location.name))
    written = vault.put("mine")
    assert vault.store.fetch_version(vault.location, written) is None
    assert vault.store.fetch_versions(vault.location) == ()


@pytest.fixture
def service_principal(vault: SandboxVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An app with a secret, in the environment where azure-identity looks for it."""
    app = vault.world.apps[CLIENT_ID]
    app.secret, app.public = "a-client-secret-of-the-sandbox", False
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", app.secret)
    yield app.secret
    app.secret, app.public = None, True


@pytest.mark.parametrize("kind", ["environment", "default"])
@pytest.mark.usefixtures("service_principal")
def test_credential_of_azure_identity_opens_the_vault_when_it_is_set_up(
    vault: SandboxVault, kind: CredentialKind
) -> None:
    credential = make_credential(
        kind,
        authority=vault.sandbox.addresses.entra_url,
        instance_discovery=False,
        http=vault.http,
        stop=make_stop(vault.clock),
    )
    store = vault.make_store(credential=credential)
    try:
        assert store.fetch_latest(vault.location) is None
    finally:
        store.close()


def test_credential_of_azure_identity_is_blamed_when_its_secret_is_wrong(
    vault: SandboxVault, service_principal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", CANARY)
    entra = vault.sandbox.addresses.entra_url
    credential = make_credential(
        "environment", authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock)
    )
    store = vault.make_store(credential=credential)
    try:
        with pytest.raises(DeniedError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert caught.value.code == "vault_credential_refused"
    assert "AADSTS7000215" in caught.value.message
    assert CANARY not in show(caught.value)


def test_credential_of_azure_identity_is_blamed_when_nothing_is_set_up(vault: SandboxVault) -> None:
    entra = vault.sandbox.addresses.entra_url
    credential = make_credential(
        "environment", authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock)
    )
    store = vault.make_store(credential=credential)
    try:
        with pytest.raises(DeniedError) as caught:
            store.fetch_latest(vault.location)
    finally:
        store.close()
    assert caught.value.code == "vault_credential_refused"


def test_service_fabric_is_not_asked_as_its_library_would_wait_for_ever(
    vault: SandboxVault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That makes a session of its own, without any limit of ours."""

    def make(kind: CredentialKind) -> TokenCredential:
        entra, stop = vault.sandbox.addresses.entra_url, make_stop(vault.clock)
        return make_credential(kind, authority=entra, instance_discovery=False, http=vault.http, stop=stop)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IDENTITY_HEADER", "canary")
    monkeypatch.setenv("IDENTITY_SERVER_THUMBPRINT", "0" * 40)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"https://127.0.0.1:{listener.getsockname()[1]}/token")
        with pytest.raises(ConfigError, match="Service Fabric") as refused:
            make("managed_identity")
        store = vault.make_store(credential=make("default"))
        with pytest.raises(DeniedError) as caught:
            store.fetch_latest(vault.location)
        store.close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "workload_identity" in refused.value.fix
    assert caught.value.code == "vault_credential_refused"


def test_workload_identity_is_a_settings_error_when_its_variables_are_missing(vault: SandboxVault) -> None:
    entra = vault.sandbox.addresses.entra_url
    with pytest.raises(ConfigError) as caught:
        make_credential(
            "workload_identity", authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock)
        )
    assert "key_vault.credential" in str(caught.value)


# Secrets of our own, threads, leaks.


def test_plain_secret_is_read_when_it_is_there(vault: SandboxVault) -> None:
    vault.write_foreign("client-secret", {})
    assert vault.store.fetch_plain_secret(vault.location.vault, "contoso-ci").reveal() == "client-secret"


def test_plain_secret_is_an_error_when_it_is_missing(vault: SandboxVault) -> None:
    with pytest.raises(RejectedError) as caught:
        vault.store.fetch_plain_secret(vault.location.vault, "contoso-ci")
    assert caught.value.code == "secret_not_found"


def test_store_serves_many_threads_when_the_token_is_refused_meanwhile(vault: SandboxVault) -> None:
    def work(number: int) -> str:
        location = SecretLocation(vault.location.vault, f"contoso-{number}", "build-bot")
        expires_at = vault.world.clock.now()
        for step in range(5):
            vault.store.store(
                location, SecretValue(f"{number}/{step}"), expires_at=expires_at, tags={}, permit=unclaimed
            )
            if (number, step) == (0, 2):
                vault.credential.revoke()
        stored = vault.store.fetch_latest(location)
        return "" if stored is None else stored.value.reveal()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [f"{number}/4" for number in range(8)]
    assert threading.active_count() < 50


def _deny(vault: SandboxVault) -> None:
    vault.deny("set")


def _echo(vault: SandboxVault) -> None:
    error = {"code": "BadParameter", "message": f"the value {CANARY} is not to our liking"}
    plant(vault, "status", status=400, body={"error": error})


def _soft_delete(vault: SandboxVault) -> None:
    vault.put("value")
    vault.soft_delete()


@pytest.mark.parametrize(
    "arrange",
    [
        _deny,
        _echo,
        _soft_delete,
        lambda vault: plant(vault, "lost_after"),
        lambda vault: plant(vault, "malformed"),
        lambda vault: plant(vault, "truncated"),
        lambda vault: plant(vault, "status", status=500, body="<html>"),
        lambda vault: plant(vault, "rate_limited"),
        lambda vault: plant(vault, "status", status=307, headers={"Location": "https://127.0.0.1:1/"}),
        lambda vault: plant(vault, "status", status=401, times=None),
    ],
)
def test_value_and_bearer_show_nowhere_when_a_store_fails(
    vault: SandboxVault, arrange: Callable[[SandboxVault], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("azure", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    arrange(vault)
    with pytest.raises(RemoteError) as caught:
        vault.put(CANARY)
    assert caplog.records
    for secret in (CANARY, vault.credential.current):
        assert secret not in caplog.text
        assert secret not in show(caught.value)


def test_value_and_bearer_show_nowhere_when_all_goes_well(
    vault: SandboxVault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault.store.prove_writable(vault.location, {"intent": "r1"}, permit=unclaimed)
    vault.put(CANARY)
    vault.store.prove_writable(vault.location, {"intent": "r2"}, permit=unclaimed)
    stored = vault.store.fetch_latest(vault.location)
    vault.store.fetch_versions(vault.location)
    assert "azure" in {record.name.partition(".")[0] for record in caplog.records}
    for secret in (CANARY, vault.credential.current):
        assert secret not in caplog.text
        assert secret not in f"{stored!r} {stored} {vault.store!r}"


def show(error: RotatorError) -> str:
    """All that anybody could print of an error: its traceback with everything chained, and its attributes."""
    text = io.StringIO()
    assert error.__cause__ is None
    assert error.__context__ is None
    traceback.print_exception(error, file=text)
    return text.getvalue() + repr(vars(error)) + repr(error)


class _Fixed:
    """A credential with one token, whatever it is worth."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        return AccessToken(self._token, 2**31)


class _Asked:
    """A credential that notes what it is asked for."""

    def __init__(self, inner: TokenCredential, asked: list[tuple[str, ...]]) -> None:
        self._inner = inner
        self._asked = asked

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self._asked.append(scopes)
        return self._inner.get_token(*scopes, **options)


class _Failing:
    """A credential that never has a token."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        raise self._error


def test_tags_are_harmless_and_an_id_in_them_has_its_one_spelling(vault: SandboxVault) -> None:
    tags = {"note": "tab\there", "id": "0000000A-1111-4222-8333-44444444444B"}
    end = vault.world.clock.now() + timedelta(days=1)
    vault.store.store(vault.location, SecretValue(CANARY), expires_at=end, tags=tags, permit=unclaimed)
    latest = vault.store.fetch_latest(vault.location)
    assert latest is not None
    expected = {"note": "tab\ufffdhere", "id": tags["id"].lower()}
    assert latest.version.tags == expected
    assert vault.store.fetch_versions(vault.location)[0].tags == expected


# The vault's own ids.


def test_answers_to_changes_have_the_id_that_the_vault_gave_them(vault: SandboxVault) -> None:
    written = vault.store.store(
        vault.location,
        SecretValue(CANARY),
        expires_at=vault.world.clock.now() + timedelta(days=1),
        tags={},
        permit=unclaimed,
    )
    disabled = vault.store.disable(vault.location, str(written), permit=unclaimed)
    assert set(written.answer_ids) == set(disabled) == {"request_id"}
    assert len(written.answer_ids["request_id"]) == len(disabled["request_id"]) == 36
    assert written.answer_ids != disabled


def test_errors_of_changes_have_the_id_harmless(vault: SandboxVault) -> None:
    plant(vault, "status", status=500, headers={"x-ms-request-id": "id <1>" + " x" * 900})
    with pytest.raises(UnknownOutcomeError) as caught:
        vault.put(CANARY)
    assert caught.value.answer_ids == {"request_id": ("id1" + "x" * 900)[:64]}
