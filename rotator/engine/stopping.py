"""After a stop no service is called: here, in one place, each port refuses what its callers would still begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from rotator.domain.account import Identity
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.engine.context import Services
from rotator.ports.database import Database, Reading, UnitOfWork
from rotator.ports.pat_service import MintedPat, PatFilter, PatList, PatService
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret, WrittenVersion
from rotator.ports.sign_in import SignIn, SignInStatus, TokenCacheDamage
from rotator.ports.stop import Stop


def make_stoppable(services: Services) -> Services:
    """Return the same services; each call raises StoppedError once their stop is set, except on `closing_database`."""
    stop = services.stop
    return replace(
        services,
        database=StoppableDatabase(services.database, stop),
        pats=StoppablePatService(services.pats, stop),
        secrets=StoppableSecretStore(services.secrets, stop),
        sign_in=StoppableSignIn(services.sign_in, stop),
    )


class StoppableDatabase:
    """Port Database. A transaction that began before the stop may still commit."""

    def __init__(self, inner: Database, stop: Stop) -> None:
        self._inner, self._stop = inner, stop

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        self._stop.check()
        with self._inner.begin() as work:
            self._stop.check()  # it may have come while we waited for the lock
            yield work

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port."""
        self._stop.check()
        with self._inner.read() as reading:
            self._stop.check()
            yield reading


class StoppableSignIn:
    """Port SignIn."""

    def __init__(self, inner: SignIn, stop: Stop) -> None:
        self._inner, self._stop = inner, stop

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """See the port."""
        self._stop.check()
        return self._inner.refresh(account, renews=renews)

    def status(self, account: str) -> SignInStatus:
        """See the port; it asks nobody, so a stop does not matter."""
        return self._inner.status(account)

    def find_unsaved(self) -> TokenCacheDamage | None:
        """See the port."""
        return self._inner.find_unsaved()

    def find_saved_at(self) -> datetime | None:
        """See the port."""
        return self._inner.find_saved_at()

    def find_damage(self) -> TokenCacheDamage | None:
        """See the port; it asks nobody, so a stop does not matter."""
        return self._inner.find_damage()


class StoppablePatService:
    """Port PatService."""

    def __init__(self, inner: PatService, stop: Stop) -> None:
        self._inner, self._stop = inner, stop

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_identity(account, organization)

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_pats(account, organization, which)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_pat(account, organization, authorization_id)

    def mint(
        self,
        account: str,
        organization: str,
        *,
        display_name: str,
        scope: str,
        valid_to: datetime,
        permit: Permit,
    ) -> MintedPat:
        """See the port."""
        self._stop.check()
        return self._inner.mint(
            account, organization, display_name=display_name, scope=scope, valid_to=valid_to, permit=permit
        )

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """See the port."""
        self._stop.check()
        return self._inner.verify(organization, value)

    def revoke(self, account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        self._stop.check()
        return self._inner.revoke(account, organization, authorization_id, permit=permit)


class StoppableSecretStore:
    """Port SecretStore."""

    def __init__(self, inner: SecretStore, stop: Stop) -> None:
        self._inner, self._stop = inner, stop

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """See the port."""
        self._stop.check()
        return self._inner.prove_writable(location, intent, permit=permit)

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """See the port."""
        self._stop.check()
        return self._inner.prove_access(location)

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_tagged(vault, account, tag)

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_latest(location)

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_version(location, version)

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        self._stop.check()
        return self._inner.fetch_versions(location)

    def store(
        self,
        location: SecretLocation,
        value: SecretValue,
        *,
        expires_at: datetime | None,
        tags: dict[str, str],
        permit: Permit,
    ) -> WrittenVersion:
        """See the port."""
        self._stop.check()
        return self._inner.store(location, value, expires_at=expires_at, tags=tags, permit=permit)

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        self._stop.check()
        return self._inner.disable(location, version, permit=permit)
