"""A vault that is read with an account's own token: one that the vault refuses is replaced, by the real libraries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.entra.credential import AccountCredential
from rotator.adapters.key_vault.secret_store import KeyVaultSecretStore
from rotator.adapters.stop import ProcessStop
from rotator.domain.secret_value import SecretValue
from rotator.errors import DeniedError, SignInRequiredError, StoppedError, TransientError
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, VAULT
from tests.support.signing_in import Stage
from tests.support.stop import StoppingFaults, make_stop

CANARY = "canary-value-that-must-not-show"
CHALLENGE = {
    "WWW-Authenticate": 'Bearer authorization="https://login.microsoftonline.com/common", '
    'resource="https://vault.azure.net", error="invalid_token"'
}


class AccountVault:
    """The sandbox's vault and Entra, an account that is signed in, and a store that uses its sign-in."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.world = stage, stage.world
        self.location = SecretLocation(stage.sandbox.addresses.key_vault_url, "contoso-ci", ACCOUNT)
        credential = AccountCredential(stage.sign_in, ACCOUNT)
        self.store = KeyVaultSecretStore(
            lambda _: credential, verify_challenge_resource=False, http=stage.http, stop=make_stop(stage.clock)
        )
        stage.login()

    def put(self, value: str) -> None:
        """Write a value."""
        self.store.store(self.location, SecretValue(value), expires_at=None, tags={}, permit=unclaimed)

    def read(self) -> str:
        """Return the newest value."""
        found = self.store.fetch_latest(self.location)
        assert found is not None
        return found.value.reveal()

    def list_values(self) -> list[str]:
        """Return what the vault holds, the oldest first."""
        return [version.value for version in self.world.vaults[VAULT].secrets[self.location.name].versions]

    def refuse_token(self, resource: str = "key_vault") -> None:
        """The service takes none of the tokens of today any more, although they are valid by their time."""
        tokens = self.world.access_tokens
        for value in [value for value, token in tokens.items() if token.resource == resource]:
            del tokens[value]

    def count_asked(self) -> int:
        """How often Entra was asked for a token since the login."""
        return len(self.stage.token_calls("refresh_token"))


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[AccountVault]:
    with Sandbox(tmp_path / "sandbox", seed_demo=False) as sandbox:
        stage = Stage(sandbox, tmp_path)
        vault = AccountVault(stage)
        yield vault
        vault.store.close()
        stage.close()


def test_refused_token_is_replaced_when_a_secret_is_read_or_written(vault: AccountVault) -> None:
    """A write that was refused was not carried out: there is one version of each value."""
    vault.put("first")
    assert vault.count_asked() == 1
    vault.refuse_token()
    assert vault.read() == "first"
    assert vault.count_asked() == 2
    vault.world.clock.advance(timedelta(minutes=6))
    vault.refuse_token()
    vault.put("second")
    assert vault.count_asked() == 3
    assert vault.list_values() == ["first", "second"]


def test_refused_token_is_not_replaced_after_the_stop(vault: AccountVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put("a value")
    vault.refuse_token()
    stop = ProcessStop()
    monkeypatch.setattr(vault.world, "faults", StoppingFaults(stop))
    vault.world.faults.add(Fault("key_vault", "latency"))
    credential = AccountCredential(vault.stage.make_sign_in(stop=stop), ACCOUNT)
    store = KeyVaultSecretStore(lambda _: credential, verify_challenge_resource=False, http=vault.stage.http, stop=stop)
    before = len(vault.world.record.all())

    with pytest.raises(StoppedError):
        store.fetch_latest(vault.location)

    assert stop.is_set
    assert [(entry.service, entry.status) for entry in vault.world.record.all()[before:]] == [("key_vault", 401)]
    store.close()


def test_token_refused_by_a_vault_is_replaced_when_another_service_refused_its_own_just_now(
    vault: AccountVault,
) -> None:
    """Each service has a token of its own."""
    vault.put("value")
    sign_in = vault.stage.sign_in
    refused = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert not sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE, refused=refused.value).value.same_as(refused.value)
    vault.refuse_token()
    assert vault.read() == "value"


@pytest.mark.parametrize("headers", [{}, CHALLENGE], ids=["bare", "challenge"])
@pytest.mark.parametrize("is_write", [True, False])
def test_entra_is_asked_once_in_five_minutes_when_the_vault_takes_no_token(
    vault: AccountVault, is_write: bool, headers: dict[str, str]
) -> None:
    """So is the vault: a repetition with the same token is in vain."""
    vault.put("value")
    vault.world.faults.add(Fault("key_vault", "status", status=401, headers=headers, times=None))
    asked = []
    for _ in range(3):
        vault.world.record.clear()
        with pytest.raises(DeniedError) as failed:
            vault.put(CANARY) if is_write else vault.read()
        assert (failed.value.code, failed.value.__context__) == ("vault_unauthenticated", None)
        asked.append((vault.count_asked(), len(vault.world.record.all("key_vault"))))
    at_once = 2 if headers else 1
    assert asked == [(1, 2 * at_once), (0, at_once), (0, at_once)]
    vault.world.faults.clear()
    assert vault.list_values() == ["value"]


def test_sign_in_that_entra_has_refused_is_not_asked_for_another_token(vault: AccountVault) -> None:
    vault.put("value")
    vault.stage.configure_user(revoked=True)
    with pytest.raises(SignInRequiredError):
        vault.stage.sign_in.refresh(ACCOUNT, renews=True)
    vault.refuse_token()
    vault.world.record.clear()
    with pytest.raises(SignInRequiredError) as failed:
        vault.read()
    assert failed.value.code == "sign_in_revoked"
    assert failed.value.__context__ is None
    assert vault.world.record.all("entra") == []


def test_write_certainly_did_nothing_when_entra_cannot_be_asked_for_another_token(vault: AccountVault) -> None:
    vault.put("value")
    vault.refuse_token()
    vault.world.faults.add(Fault("entra", "status", status=503, path="/token", times=None))
    with pytest.raises(TransientError) as failed:
        vault.put(CANARY)
    assert failed.value.service == "entra"
    assert vault.list_values() == ["value"]
