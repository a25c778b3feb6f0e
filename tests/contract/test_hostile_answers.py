"""Answers that drip, never end, unpack to a gigabyte, nest without limit or are crowded, whoever asks."""

from __future__ import annotations

import gzip
import json
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.azure_devops.pat_service import AzureDevOpsPatService
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.credentials import make_credential
from rotator.errors import RotatorError, TransientError, UnknownOutcomeError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import CLIENT_ID, TENANT_ID
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps
from tests.support.signing_in import Stage
from tests.support.stop import make_stop
from tests.support.vault import SandboxVault, run_vault

SECRET = "a-client-secret-of-the-sandbox"
HASTY, PATIENT = timedelta(seconds=0.4), timedelta(seconds=20)
KINDS = ("drip", "huge", "compressed", "nested", "crowded")
CODES = {kind: "total_timeout" if kind == "drip" else "answer_limit" for kind in KINDS}
MOST_MEMORY = 160 * 1024
"""KiB that one answer may cost, with the copies of the sandbox, which runs in this process."""


@dataclass
class Services:
    """The real adapters on one sandbox, with one total timeout."""

    vault: SandboxVault
    azure_devops: SandboxAzureDevOps
    pats: AzureDevOpsPatService
    stage: Stage
    http: HttpOptions


@contextmanager
def run_services(folder: Path, total: timedelta) -> Iterator[Services]:
    """The services until the block ends."""
    with run_vault(folder / "sandbox") as vault:
        http = replace(vault.http, total_timeout=total)
        vault.store.close()
        vault.store = vault.make_store(http=http)
        azure_devops = SandboxAzureDevOps(vault.sandbox)
        pats = azure_devops.make_service(http=http)
        stage = Stage(vault.sandbox, folder)
        stage.sign_in = stage.make_sign_in(http=http)
        yield Services(vault, azure_devops, pats, stage, http)
        stage.close()
        pats.close()
        azure_devops.service.close()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with run_services(tmp_path_factory.mktemp("hasty"), HASTY) as services:
        yield services


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with run_services(tmp_path_factory.mktemp("patient"), PATIENT) as services:
        yield services


@pytest.fixture
def services(kind: str, hasty: Services, patient: Services) -> Iterator[Services]:
    """The hasty ones for a drip; the others must give up without any timeout."""
    services = hasty if kind == "drip" else patient
    services.vault.start_over("contoso-ci")
    services.vault.credential.revoke()  # a test may have moved the clock on
    services.vault.store.fetch_latest(services.vault.location)
    yield services
    services.vault.world.faults.clear()


def fail(services: Services, fault: Fault, call: Callable[[], object]) -> RotatorError:
    """What the call raises; it must be ours, and within the memory.

    A dripped answer becomes whole in the end: a call that waits for that raises nothing.
    """
    services.vault.world.faults.add(fault)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RotatorError) as caught:
        call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_MEMORY
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_listing_gives_up_when_the_answer_is_hostile(services: Services, kind: str) -> None:
    fault = Fault("azure_devops", kind, "GET", times=None, seconds=0.05)
    error = fail(services, fault, lambda: services.pats.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE))
    assert isinstance(error, TransientError)
    assert error.code == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_mint_is_unknown_when_the_answer_is_hostile(services: Services, kind: str) -> None:
    def mint() -> object:
        valid_to = services.vault.world.clock.now() + timedelta(days=30)
        return services.pats.mint(
            ACCOUNT, "contoso", display_name="npm-feed", scope="vso.packaging", valid_to=valid_to, permit=unclaimed
        )

    error = fail(services, Fault("azure_devops", kind, "POST", seconds=0.05), mint)
    assert isinstance(error, UnknownOutcomeError)
    assert error.code == CODES[kind]
    assert len(services.azure_devops.requests("POST")) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_secret_is_not_read_when_the_answer_is_hostile(services: Services, kind: str) -> None:
    store, location = services.vault.store, services.vault.location
    fault = Fault("key_vault", kind, "GET", times=None, seconds=0.05)
    error = fail(services, fault, lambda: store.fetch_latest(location))
    assert isinstance(error, TransientError)
    assert error.code == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_store_is_unknown_when_the_answer_is_hostile(services: Services, kind: str) -> None:
    error = fail(services, Fault("key_vault", kind, "PUT", seconds=0.05), lambda: services.vault.put("value"))
    assert isinstance(error, UnknownOutcomeError)
    assert error.code == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["openid-configuration", "devicecode", "/token"])
def test_sign_in_gives_up_when_the_answer_is_hostile(services: Services, path: str, kind: str) -> None:
    fault = Fault("entra", kind, path=path, times=None, seconds=0.05)
    error = fail(services, fault, services.stage.login)
    assert isinstance(error, TransientError)
    assert error.code == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_refresh_gives_up_when_the_answer_is_hostile(services: Services, kind: str) -> None:
    services.stage.login()
    services.stage.clock.sleep(3600)
    fault = Fault("entra", kind, "POST", path="/token", times=None, seconds=0.05)
    error = fail(services, fault, lambda: services.stage.sign_in.refresh(ACCOUNT))
    assert isinstance(error, TransientError)
    assert error.code == CODES[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["openid-configuration", "/token"])
def test_hosts_credential_gives_up_when_the_answer_is_hostile(
    services: Services, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    app = services.vault.world.apps[CLIENT_ID]
    monkeypatch.setattr(app, "secret", SECRET)
    monkeypatch.setattr(app, "public", False)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
    entra = services.vault.sandbox.addresses.entra_url
    credential = make_credential(
        "environment",
        authority=entra,
        instance_discovery=False,
        http=services.http,
        stop=make_stop(services.vault.clock),
    )
    store = services.vault.make_store(credential=credential, http=services.http)
    fault = Fault("entra", kind, path=path, times=None, seconds=0.05)
    try:
        error = fail(services, fault, lambda: store.fetch_latest(services.vault.location))
    finally:
        store.close()
    assert isinstance(error, TransientError)
    assert error.code == "vault_credential_unreachable"


@pytest.fixture
def silent_address() -> Iterator[tuple[str, int]]:
    """An address that takes no further connection, and says nothing."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        yield full.getsockname()


@pytest.mark.parametrize("kind", ["drip"])
def test_change_was_not_sent_when_a_name_has_many_addresses_that_say_nothing(
    services: Services, silent_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As behind a firewall: each address may be tried for as long as `connect_timeout` says, all of them may not."""
    there = services.azure_devops.sandbox.addresses.azure_devops_url
    kinds = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*kinds, silent_address)] * 9 + [(*kinds, ("127.0.0.1", int(there.rpartition(":")[2])))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    http = replace(services.http, connect_timeout=HASTY / 3)
    service = services.azure_devops.make_service(http=http)
    with pytest.raises(TransientError) as caught:
        service.revoke(ACCOUNT, "contoso", "00000001-1111-4222-8333-444444444444", permit=unclaimed)
    service.close()
    assert not isinstance(caught.value, UnknownOutcomeError)
    assert caught.value.code == "connect_timeout"
    assert services.azure_devops.requests("DELETE") == []


@pytest.mark.parametrize("kind", ["of usual size"])
def test_listing_is_read_when_it_is_compressed_and_full_of_brackets(services: Services, kind: str) -> None:
    entry = {
        "displayName": '[[[{{{"',
        "validTo": "2099-12-20T09:00:00Z",
        "scope": "vso.packaging",
        "targetAccounts": ["6f3d2c1b-0a9e-4c8d-b7f6-5e4d3c2b1a09"],
        "validFrom": "2026-11-20T09:00:00.3333333Z",
    }
    entries = [{**entry, "authorizationId": f"{number:08d}-1111-4222-8333-444444444444"} for number in range(100)]
    body = gzip.compress(json.dumps({"continuationToken": "", "patTokens": entries}).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    services.vault.world.faults.add(Fault("azure_devops", "status", status=200, body=body, headers=headers))
    assert len(services.pats.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE)) == 100


@pytest.mark.parametrize("kind", ["endless"])
@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("ask", ["versions", "names", "prove"])
def test_vaults_list_ends_when_each_page_names_itself_as_the_next(
    services: Services, kind: str, ask: str, is_empty: bool
) -> None:
    vault, store, location = services.vault, services.vault.store, services.vault.location
    version = {"id": f"{location.vault}/secrets/contoso-ci/{'0' * 32}", "attributes": {"enabled": True, "created": 1}}
    page = {
        "value": [] if is_empty else [version],
        "nextLink": f"{location.vault}/secrets?api-version=7.6&$skiptoken=x",
    }
    calls: dict[str, Callable[[], object]] = {
        "versions": lambda: store.fetch_versions(location),
        "names": lambda: store.fetch_tagged(location.vault, "", "rotator-attempt"),
        "prove": lambda: store.prove_writable(location, {}, permit=unclaimed),
    }
    headers = {"Content-Type": "application/json"}
    body = json.dumps(page)
    fault = Fault("key_vault", "status", "GET", "secrets", None, status=200, body=body, headers=headers)
    error = fail(services, fault, calls[ask])
    assert isinstance(error, TransientError)
    assert error.code == "vault_answer"
    vault.world.record.clear()
