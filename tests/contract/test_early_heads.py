"""Heads that come before an answer and are none, as a proxy's `103 Early Hints`: nobody takes them for the answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.errors import UnknownOutcomeError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps
from tests.support.signing_in import Stage
from tests.support.vault import SandboxVault, run_vault

HOME = "contoso"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def azure_devops(vault: SandboxVault) -> Iterator[SandboxAzureDevOps]:
    vault.start_over("contoso-ci")
    used = SandboxAzureDevOps(vault.sandbox)
    yield used
    vault.world.faults.clear()
    used.service.close()


def plant(vault: SandboxVault, service: str, method: str) -> None:
    """Let every such request be answered a moment after a head that is no answer."""
    vault.world.faults.add(Fault(service, "early", method, times=None, seconds=0.05))


def test_each_request_gets_its_own_answer_when_a_head_comes_first(
    vault: SandboxVault, azure_devops: SandboxAzureDevOps
) -> None:
    """Else the next request on the connection is answered with what was meant for the one before."""
    service, names = azure_devops.service, ("npm-feed", "ci-build", "nuget")
    plant(vault, "azure_devops", "POST")
    plant(vault, "azure_devops", "GET")
    valid_to = azure_devops.clock.now() + timedelta(days=30)
    for count, name in enumerate(names, 1):
        minted = service.mint(ACCOUNT, HOME, display_name=name, scope="vso.code", valid_to=valid_to, permit=unclaimed)
        assert minted.pat.display_name == name
        listed = {pat.display_name for pat in service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)}
        assert listed == set(names[:count])
    assert len(azure_devops.requests("POST")) == len(names)


@pytest.mark.parametrize("status", [101, 199])
def test_change_is_unknown_when_nothing_but_such_a_head_comes(
    vault: SandboxVault, azure_devops: SandboxAzureDevOps, status: int
) -> None:
    azure_devops.plant("status", "DELETE", status=status)
    vault.world.faults.add(Fault("key_vault", "status", "PUT", status=status))
    pat = azure_devops.add_pat("npm-feed")
    with pytest.raises(UnknownOutcomeError):
        azure_devops.service.revoke(ACCOUNT, HOME, pat.authorization_id, permit=unclaimed)
    with pytest.raises(UnknownOutcomeError):
        vault.put("value")


def test_vault_and_entra_are_read_when_a_head_comes_first(
    vault: SandboxVault, azure_devops: SandboxAzureDevOps, tmp_path: Path
) -> None:
    for method in ("GET", "PUT"):
        plant(vault, "key_vault", method)
    for method in ("GET", "POST"):
        plant(vault, "entra", method)
    version = vault.put("value")
    found = vault.store.fetch_latest(vault.location)
    assert found is not None
    assert found.version.version == version
    stage = Stage(vault.sandbox, tmp_path)
    stage.login()
    stage.close()
