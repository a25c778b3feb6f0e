"""What the work of one run shows about the vaults: down from the first failure on, until one answers again."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from rotator.domain.answer_ids import AnswerIds
from rotator.domain.events.places import VaultDown, VaultRestored
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.secret_value import SecretValue
from rotator.engine.context import RunContext
from rotator.engine.noticing import notice_vault
from rotator.engine.subjects import is_of_vault, name_vault_at
from rotator.errors import RotatorError
from rotator.ports.clock import Clock
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret, WrittenVersion

_Answer = TypeVar("_Answer")


class WatchedVaults:
    """The port SecretStore, which remembers when each vault last answered as it should. Safe for threads."""

    def __init__(self, secrets: SecretStore, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._guard = threading.Lock()
        self._answered: dict[str, datetime] = {}

    def list_answered(self) -> dict[str, datetime]:
        """Return when each vault last answered, by its name as a subject."""
        with self._guard:
            return dict(self._answered)

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """See the port."""
        return self._note(location.vault, self._secrets.prove_writable(location, intent, permit=permit))

    def fetch_names(self, vault: str, account: str, tag: str) -> tuple[str, ...]:
        """See the port."""
        return self._note(vault, self._secrets.fetch_names(vault, account, tag))

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        return self._note(location.vault, self._secrets.fetch_latest(location))

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        return self._note(location.vault, self._secrets.fetch_version(location, version))

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        return self._note(location.vault, self._secrets.fetch_versions(location))

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
        return self._note(
            location.vault, self._secrets.store(location, value, expires_at=expires_at, tags=tags, permit=permit)
        )

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        return self._note(location.vault, self._secrets.disable(location, version, permit=permit))

    def _note(self, vault: str, answer: _Answer) -> _Answer:
        with self._guard:
            self._answered[name_vault_at(vault)] = self._clock.now()
        return answer


class VaultNotes:
    """Records which vaults are down, and which work again. Safe for threads.

    A vault works again when it answered in a run that met no failure of it, whatever else came of the PATs there. One
    PAT's success does not undo another one's failure in the same run.
    """

    def __init__(self, run: RunContext) -> None:
        self._watched = WatchedVaults(run.services.secrets, run.services.clock)
        self.run = replace(run, services=replace(run.services, secrets=self._watched))
        """The same run, with its vaults watched."""
        self._guard = threading.Lock()
        self._failed: set[str] = set()

    def note_error(self, pat: ManagedPat, error: RotatorError) -> None:
        """Record that the vault of a ManagedPat is down, if this error says so."""
        if is_of_vault(error):
            vault = name_vault_at(pat.vault)
            with self._guard:
                self._failed.add(vault)
            now = self.run.services.clock.now()
            notice_vault(self.run, vault, VaultDown(code=error.code, message=error.message), now)

    def list_working(self) -> list[tuple[str, datetime]]:
        """Return each vault that met no failure in this run, with the time of its last answer."""
        return [item for item in sorted(self._watched.list_answered().items()) if item[0] not in self._failed]

    def end(self, vault: str, answered_at: datetime) -> None:
        """Record, at the end of the work, that a vault works."""
        notice_vault(self.run, vault, VaultRestored(), answered_at)
