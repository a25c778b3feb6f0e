"""Notes of which values of secrets were read, taken where they are read: in the port SecretStore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.domain.anchor import PREFIX
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.secret_value import SecretValue
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret, WrittenVersion


@dataclass(frozen=True, order=True)
class ReadValue:
    """One version of a secret whose value was read; `name` is the ManagedPat that it was read for, if for one."""

    vault: str
    secret_name: str
    name: str
    version: str


class ReadNotes:
    """What was read and is not in the audit log yet, each once. Safe for threads.

    `wake` is called when there is something to write where there was nothing.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._guard = threading.Lock()
        self._noted: dict[ReadValue, None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self._noted

    def note(self, location: SecretLocation, version: SecretVersion) -> None:
        """Note that a value was read. Our own anchors of the audit log are no secrets."""
        if not location.name.startswith(PREFIX):
            self.give_back([ReadValue(location.vault, location.name, location.managed_pat, version.version)])

    def take(self) -> list[ReadValue]:
        """Return what is to be written, sorted; whoever cannot write it gives it back."""
        with self._guard:
            taken, self._noted = sorted(self._noted), {}
        return taken

    def give_back(self, values: Iterable[ReadValue]) -> None:
        """Note what was taken and not written."""
        with self._guard:
            is_first = not self._noted
            self._noted.update(dict.fromkeys(values))
        if is_first:
            self._wake()


class NotedSecrets:
    """The port SecretStore, which notes each value that it gives, and each that was read to find something out."""

    def __init__(self, inner: SecretStore, notes: ReadNotes) -> None:
        self._inner, self._notes = inner, notes

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """See the port."""
        if (found := self._inner.prove_writable(location, intent, permit=permit)) is not None:
            self._notes.note(location, found)
        return found

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """See the port."""
        if (found := self._inner.prove_access(location)) is not None:
            self._notes.note(location, found)
        return found

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """See the port; it reads no value."""
        return self._inner.fetch_tagged(vault, account, tag)

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        return self._note(location, self._inner.fetch_latest(location))

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        return self._note(location, self._inner.fetch_version(location, version))

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        versions = self._inner.fetch_versions(location)
        if len(versions) > 1 and versions[0].enabled and versions[0].created_at == versions[1].created_at:
            self._notes.note(location, versions[0])
        return versions

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
        return self._inner.store(location, value, expires_at=expires_at, tags=tags, permit=permit)

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        return self._inner.disable(location, version, permit=permit)

    def _note(self, location: SecretLocation, found: StoredSecret | None) -> StoredSecret | None:
        if found is not None:
            self._notes.note(location, found.version)
        return found
