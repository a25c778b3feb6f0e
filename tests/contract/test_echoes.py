"""Services that repeat what they were sent, whole or cut, in their refusals: no part of a secret is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.azure_devops.credential import PatBasic
from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.echoes import remove_from_document
from rotator.adapters.redaction import SHORTEST_SECRET
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError
from rotator.ports.pat_service import PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps
from tests.support.signing_in import Stage, spell_out
from tests.support.vault import SandboxVault, run_vault

PAT = "k3Jq8ZtWm5Xy" * 7
"""As long as a PAT, and without its shape."""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as running:
        running.start_over("contoso-ci")
        yield running


def cut(secret: str) -> list[str]:
    """The secret as services repeat it."""
    middle = len(secret) // 2
    return [secret, f"{secret[:9]}...", f"...{secret[-8:]}", secret[middle : middle + 11]]


def check_silence(error: RotatorError, secret: str) -> None:
    """No eight characters of the secret in a row are in what is told, its causes and contexts included."""
    told = spell_out(error)
    pieces = (secret[start : start + SHORTEST_SECRET] for start in range(len(secret) - SHORTEST_SECRET + 1))
    assert [piece for piece in pieces if piece in told] == []


class Counted(str):
    """A text that counts how often a piece of it is taken."""

    taken = 0

    def __getitem__(self, key: Any) -> str:
        self.taken += 1
        return super().__getitem__(key)


def test_secret_is_cut_once_however_many_texts_a_refusal_has() -> None:
    """A refusal of 100,000 texts took half a minute, which no timeout ended."""
    secret = Counted(PAT)
    texts = ["a text of some length", {f"number {number}": PAT[number : number + 9] for number in range(50)}]
    clean = remove_from_document(texts * 20, [secret])
    assert clean == ["a text of some length", dict.fromkeys((f"number {n}" for n in range(50)), "***")] * 20
    assert 0 < secret.taken <= len(PAT)


def refuse(vault: SandboxVault, service: str, words: str, body: object = None, **fault: Any) -> None:
    """The next request is refused in these words, which also stand in the id of the answer."""
    headers = {"X-VSS-E2EID": words, "x-ms-request-id": words}
    document = body or {"message": words, "typeKey": "UnauthorizedRequestException"}
    escaped = json.dumps(document).replace(words[-1:], f"\\u{ord(words[-1:]):04x}")
    options: dict[str, Any] = {"status": 401, "headers": headers, "body": escaped, "times": None, **fault}
    vault.world.faults.add(Fault(service, "status", **options))


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("status", [401, 403, 400])
def test_azure_devops_repeats_no_part_of_a_pat_or_bearer(vault: SandboxVault, shape: int, status: int) -> None:
    azure_devops = SandboxAzureDevOps(vault.sandbox)
    bearer = azure_devops.bearers.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE).value.reveal()
    coded = PatBasic("contoso", SecretValue(PAT)).make_header().reveal().partition(" ")[2]

    def prove() -> object:
        return azure_devops.service.verify("contoso", SecretValue(PAT))

    def fetch() -> object:
        return azure_devops.service.fetch_pats(ACCOUNT, "contoso", PatFilter.ACTIVE)

    of_pat, of_bearer = ((PAT, prove), (coded, prove)), ((bearer, fetch),)
    # After a 401 another bearer is sent, which no service can repeat before it saw it.
    for secret, ask in of_pat if status == 401 else (*of_pat, *of_bearer):
        refuse(vault, "azure_devops", f"not {cut(secret)[shape]}", status=status)
        with pytest.raises(RotatorError) as caught:
            ask()
        vault.world.faults.clear()
        check_silence(caught.value, secret)
    azure_devops.service.close()


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize("status", [401, 403, 400, 409])
def test_vault_repeats_no_part_of_a_value_or_token(vault: SandboxVault, shape: int, status: int) -> None:
    for secret in (PAT, vault.credential.get_token().token):
        assert vault.store.fetch_latest(vault.location) is None, "so that the library sends the token at once"
        words = f"not {cut(secret)[shape]}"
        refuse(vault, "key_vault", words, {"error": {"code": "Odd", "message": words}}, status=status)
        with pytest.raises(RotatorError) as caught:
            vault.store.store(vault.location, SecretValue(PAT), expires_at=vault.clock.now(), tags={}, permit=unclaimed)
        vault.world.faults.clear()
        check_silence(caught.value, secret)


@pytest.mark.parametrize("shape", range(4))
def test_entra_repeats_no_part_of_a_refresh_token(tmp_path: Path, vault: SandboxVault, shape: int) -> None:
    stage = Stage(vault.sandbox, tmp_path)
    stage.sign_in.login_with_device_code(ACCOUNT, stage.approve())
    stage.clock.sleep(3700)
    (token,) = vault.world.refresh_tokens
    body = {"error": "invalid_grant", "error_description": f"AADSTS1: {cut(token)[shape]}"}
    refuse(vault, "entra", "an-id-of-it", body, status=400, method="POST")
    with pytest.raises(RotatorError) as caught:
        stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    vault.world.faults.clear()
    vault.world.refresh_tokens.clear()
    stage.close()
    check_silence(caught.value, token)
