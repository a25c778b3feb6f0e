"""A request that changes something leaves under a permit only, which is asked for after all that it waited for."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import requests
from azure.core.credentials import AccessToken

from rotator.adapters.http import make_session
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.permits import permitted
from rotator.domain.secret_value import SecretValue
from rotator.errors import ClaimLostError, InternalError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import Permit
from rotator.sandbox.faults import Fault
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps, run_azure_devops
from tests.support.source_tree import ROOT
from tests.support.vault import SandboxVault, run_vault

HOME = "contoso"
SOME_ID = "0f0f0f0f-1111-4222-8333-444444444444"
HARMLESS = ("fetch_", "verify")
_FREE = {
    "SecretAccess.prove_access": "changes a version that cannot exist",
    "TokenAdmin.revoke": "a PAT that no record accounts for: nobody can have claimed it",
}
"""What asks a service under no permit of its caller, and why."""


@pytest.fixture(scope="module")
def azure_devops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAzureDevOps]:
    with run_azure_devops(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


def lose() -> None:
    """The permit of a claim that is lost."""
    raise ClaimLostError("our claim was lost; nothing was sent")


class Lasting:
    """A permit that is given so many times."""

    def __init__(self, times: int) -> None:
        self._left = times

    def __call__(self) -> None:
        """Give it once more, or never again."""
        if self._left <= 0:
            lose()
        self._left -= 1


def change_azure_devops(azure_devops: SandboxAzureDevOps, method: str, permit: Permit) -> object:
    """Each change of PATs, by its HTTP method."""
    service = azure_devops.service
    if method == "DELETE":
        return service.revoke(ACCOUNT, HOME, SOME_ID, permit=permit)
    end = azure_devops.clock.now() + timedelta(days=30)
    return service.mint(ACCOUNT, HOME, display_name="npm-feed", scope="vso.code", valid_to=end, permit=permit)


VAULT_CHANGES: dict[str, Callable[[SandboxVault, Permit], object]] = {
    "store": lambda vault, permit: vault.store.store(
        vault.location, SecretValue("new"), expires_at=None, tags={}, permit=permit
    ),
    "disable": lambda vault, permit: vault.store.disable(vault.location, vault.versions()[0].version, permit=permit),
    "prove_writable": lambda vault, permit: vault.store.prove_writable(vault.location, {"a": "b"}, permit=permit),
}


@pytest.mark.parametrize("lasts", [0, 1, 2])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nothing_reaches_azure_devops_when_the_claim_is_lost_before_it_is_connected(
    azure_devops: SandboxAzureDevOps, method: str, lasts: int
) -> None:
    """Asked for the last time once the connection stands: to look a name up or to shake hands may take long."""
    azure_devops.service.close()
    azure_devops.start_over()
    with pytest.raises(ClaimLostError):
        change_azure_devops(azure_devops, method, Lasting(lasts))
    assert azure_devops.requests(method) == []


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("cause", ["throttled", "throttled before", "refused token"])
def test_nothing_more_reaches_azure_devops_when_the_claim_is_lost_in_a_wait(
    azure_devops: SandboxAzureDevOps, method: str, cause: str
) -> None:
    azure_devops.service.close()
    azure_devops.start_over()
    headers = {"Retry-After": "40"}
    if cause == "throttled before":  # by an answer to another thread of this account
        azure_devops.plant("status", "GET", status=200, headers=headers, body={"patTokens": []})
        azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    elif cause == "throttled":
        azure_devops.plant("status", method, status=429, headers=headers)
    else:
        azure_devops.plant("status", method, status=401)
    began, sent = azure_devops.clock.read_boot().elapsed, 0 if cause == "throttled before" else 1

    def last() -> None:
        if azure_devops.clock.read_boot().elapsed - began > timedelta(seconds=30):
            lose()

    with pytest.raises(ClaimLostError):
        change_azure_devops(azure_devops, method, Lasting(3) if cause == "refused token" else last)
    assert len(azure_devops.requests(method)) == sent


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_connection_that_grew_old_while_the_permit_was_asked_for_is_not_used(
    azure_devops: SandboxAzureDevOps, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """What is sent on one that is dead by then may or may not have been carried out."""
    azure_devops.service.close()
    azure_devops.start_over()
    azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    closed, now = list[bool](), [time.monotonic()]
    monkeypatch.setattr("rotator.adapters.azure_devops.client.time.monotonic", lambda: now[0])
    monkeypatch.setattr(requests.Session, "close", lambda session: closed.append(True))

    def wait() -> None:
        now[0] += 30

    change_azure_devops(azure_devops, method, wait)
    assert closed


@pytest.mark.parametrize("lasts", [0, 1])
@pytest.mark.parametrize("change", VAULT_CHANGES)
def test_nothing_reaches_the_vault_when_the_claim_is_lost_before_it_is_connected(
    vault: SandboxVault, change: str, lasts: int
) -> None:
    vault.start_over("contoso-ci")
    vault.put("old")
    before = [repr(version) for version in vault.versions()]
    vault.world.record.clear()
    with pytest.raises(ClaimLostError):
        VAULT_CHANGES[change](vault, Lasting(lasts))
    assert [repr(version) for version in vault.versions()] == before
    assert {method for method in ("PUT", "PATCH", "POST") if vault.world.record.all("key_vault", method)} == set()


@pytest.mark.parametrize("change", ["disable", "prove_writable"])
def test_nothing_more_reaches_the_vault_when_the_claim_is_lost_in_a_wait(vault: SandboxVault, change: str) -> None:
    vault.start_over("contoso-ci")
    vault.put("old")
    vault.world.record.clear()
    vault.world.faults.add(Fault("key_vault", "status", "PATCH", status=429, headers={"Retry-After": "2"}))

    def last() -> None:
        if vault.clock.slept:
            lose()

    with pytest.raises(ClaimLostError):
        VAULT_CHANGES[change](vault, last)
    assert len(vault.requests("PATCH")) == 1


@pytest.mark.parametrize("change", VAULT_CHANGES)
def test_nothing_more_reaches_the_vault_when_the_claim_is_lost_while_a_token_is_fetched(
    vault: SandboxVault, change: str
) -> None:
    """The library asks for the challenge first, without what is to be changed, and for a token then."""
    vault.start_over("contoso-ci")
    vault.put("old")
    before = [repr(version) for version in vault.versions()]
    fetch, has_fetched = vault.credential.get_token, list[bool]()

    class SlowCredential:
        def get_token(self, *scopes: str, **options: object) -> AccessToken:
            has_fetched.append(True)
            return fetch(*scopes, **options)

    def last() -> None:
        if has_fetched:
            lose()

    store, usual = vault.make_store(credential=SlowCredential()), vault.store
    vault.store = store
    try:
        with pytest.raises(ClaimLostError):
            VAULT_CHANGES[change](vault, last)
    finally:
        vault.store = usual
        store.close()
    assert [repr(version) for version in vault.versions()] == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_request_that_changes_something_leaves_without_a_permit(
    azure_devops: SandboxAzureDevOps, method: str
) -> None:
    azure_devops.start_over()
    url = f"{azure_devops.sandbox.addresses.azure_devops_url}/{HOME}/_apis/tokens/pats"
    options = HttpOptions(azure_devops.sandbox.addresses.ca_path)
    with make_session(options, needs_permits=True) as session:
        with pytest.raises(InternalError):
            session.request(method, url)
        assert azure_devops.requests() == []
        with permitted(lambda: None):
            session.request(method, url)
    assert len(azure_devops.requests()) == 1


def test_every_method_that_changes_something_at_a_service_takes_a_permit() -> None:
    free = set[str]()
    for module in ("pat_service", "secret_store", "token_admin"):
        tree = ast.parse((ROOT / "rotator" / "ports" / f"{module}.py").read_text(encoding="utf-8"))
        ports = [
            node for node in tree.body if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        ]
        assert ports
        for port in ports:
            for method in (node for node in port.body if isinstance(node, ast.FunctionDef)):
                kinds = [ast.unparse(each.annotation) for each in method.args.kwonlyargs if each.annotation is not None]
                if not method.name.startswith(HARMLESS) and "Permit" not in kinds:
                    free.add(f"{port.name}.{method.name}")
    assert free == _FREE.keys()


def test_both_services_are_asked_by_sessions_that_need_permits() -> None:
    for module in ("azure_devops/client", "key_vault/clients"):
        text = (ROOT / "rotator" / "adapters" / f"{module}.py").read_text(encoding="utf-8")
        assert text.count("needs_permits=True") == text.count("make_session(") + text.count("make_transport(") == 1


def test_the_engine_gives_its_claim_as_the_permit() -> None:
    """Or none: an anchor of the audit log is no ManagedPat's."""
    given = dict[str, set[str]]()
    for path in sorted((ROOT / "rotator" / "engine").glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "permit":
                given.setdefault(ast.unparse(node.value), set()).add(path.stem)
    assert given.keys() == {"held.check_claim", "permit", "unclaimed"}
    assert given["unclaimed"] == {"giving_anchors"}
    assert given["permit"] == {"stopping", "vaults", "read_notes"}
