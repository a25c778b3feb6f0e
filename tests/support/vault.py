"""The sandbox's vault, used through the real adapter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from azure.core.credentials import AccessToken, TokenCredential

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.secret_store import KeyVaultSecretStore
from rotator.domain.secret_value import SecretValue
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation
from rotator.ports.stop import Stop
from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, USER_ID, VAULT
from rotator.sandbox.world import Secret, SecretVersion, Vault
from tests.support.clock import FakeClock
from tests.support.stop import make_stop


class SandboxCredential:
    """Tokens directly from the sandbox's world, each used until it is revoked. Thread-safe."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._token: AccessToken | None = None
        self._lock = threading.Lock()

    def revoke(self) -> None:
        """Revoke the token in use; the next caller gets another one."""
        with self._lock:
            if self._token is not None:
                self._sandbox.world.access_tokens.pop(self._token.token, None)
            self._token = None

    @property
    def current(self) -> str:
        """Return the value of the token in use."""
        assert self._token is not None
        return self._token.token

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        """Return a token for the vault, valid for an hour."""
        with self._lock:
            if self._token is None:
                world = self._sandbox.world
                token = world.issue_access_token(world.users[USER_ID], "key_vault", CLIENT_ID)
                self._token = AccessToken(token.value, int(token.expires_at.timestamp()))
            return self._token


class SandboxVault:
    """The sandbox's default vault, a store for it, and what a test changes without the store."""

    store: KeyVaultSecretStore
    location: SecretLocation

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.clock = FakeClock()
        self.credential = SandboxCredential(sandbox)
        self.http = HttpOptions(ca_bundle=sandbox.addresses.ca_path, read_timeout=timedelta(seconds=5))
        self.store = self.make_store()
        self.location = SecretLocation(sandbox.addresses.key_vault_url, "contoso-ci", "build-bot")

    @property
    def vault(self) -> Vault:
        """Return the vault's state."""
        return self.world.vaults[VAULT]

    def make_store(
        self,
        *,
        credential: TokenCredential | None = None,
        http: HttpOptions | None = None,
        verify: bool = False,
        stop: Stop | None = None,
    ) -> KeyVaultSecretStore:
        """Make another store, which the caller closes."""
        return KeyVaultSecretStore(
            lambda location: credential or self.credential,
            verify_challenge_resource=verify,
            http=http or self.http,
            stop=stop or make_stop(self.clock),
        )

    def start_over(self, name: str) -> None:
        """Open and empty the vault, remove faults and requests, and use a secret name of its own."""
        self.location = SecretLocation(self.sandbox.addresses.key_vault_url, name, "build-bot")
        with self.world.lock:
            self.vault.secrets.clear()
            self.vault.denied_operations.clear()
            self.vault.firewall = self.vault.read_only = False
            self.sandbox.key_vault.state.throttled_requests = 0
        self.world.faults.clear()
        self.world.record.clear()
        self.clock.slept.clear()

    def put(self, value: str, tags: dict[str, str] | None = None) -> str:
        """Write a value through the store."""
        expires_at = self.world.clock.now() + timedelta(days=30)
        return self.store.store(
            self.location, SecretValue(value), expires_at=expires_at, tags=tags or {}, permit=unclaimed
        )

    def write_foreign(self, value: str, tags: dict[str, str], *, enabled: bool = True) -> str:
        """Write a version as somebody else."""
        with self.world.lock:
            secret = self.vault.secrets.setdefault(self.location.name, Secret(self.location.name))
            now = self.world.clock.now()
            version = f"{len(secret.versions):032x}"
            secret.versions.append(SecretVersion(version, value, dict(tags), None, enabled, now, now))
            return version

    def soft_delete(self) -> None:
        """Delete the secret so that it can be recovered."""
        with self.world.lock:
            self.vault.secrets[self.location.name].deleted_at = self.world.clock.now()

    def deny(self, permission: str) -> None:
        """Take a permission away from everybody."""
        self.vault.denied_operations.add(permission)

    def close_firewall(self) -> None:
        """Refuse everybody by the firewall."""
        self.vault.firewall = True

    def newest_tags(self) -> dict[str, str]:
        """Return the tags of the secret's newest version."""
        return self.versions()[-1].tags

    def versions(self) -> list[SecretVersion]:
        """Return the secret's versions, the oldest first."""
        secret = self.vault.secrets.get(self.location.name)
        return [] if secret is None else list(secret.versions)

    def requests(self, method: str) -> list[RecordedRequest]:
        """Return the requests with a bearer; one without is the library's request for the challenge."""
        return [entry for entry in self.world.record.all("key_vault", method) if entry.auth == "Bearer"]


@contextmanager
def run_vault(directory: Path) -> Iterator[SandboxVault]:
    """Run a sandbox with a store until the block ends."""
    with Sandbox(directory, seed_demo=False) as sandbox:
        vault = SandboxVault(sandbox)
        try:
            yield vault
        finally:
            vault.store.close()
