"""What the work of a run shows about the vaults: down from the first failure on, until one does that again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from rotator.domain.answer_ids import AnswerIds
from rotator.domain.condition import ConditionKind, VaultRequest
from rotator.domain.events.places import VaultDown
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import RotationState
from rotator.domain.secret_value import SecretValue
from rotator.engine.auditing import find_lasting
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.engine.noticing import notice_vault_down, notice_vault_works
from rotator.engine.standing import load_standings
from rotator.engine.subjects import is_of_vault, name_vault, name_vault_at
from rotator.errors import DatabaseError, RotatorError, StoppedError, UnknownOutcomeError
from rotator.ports.clock import Clock
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret, WrittenVersion

_Answer = TypeVar("_Answer")
Answered = Mapping[VaultRequest, datetime]
"""What a vault did, and when it last did."""


class WatchedVaults:
    """The port SecretStore, which remembers when each vault last did what. Safe for threads."""

    def __init__(self, secrets: SecretStore, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock
        self._guard = threading.Lock()
        self._answered: dict[str, dict[VaultRequest, datetime]] = {}
        self._last = threading.local()

    def list_answered(self) -> dict[str, Answered]:
        """Return what each vault did, by its name as a subject."""
        with self._guard:
            return {vault: dict(answered) for vault, answered in self._answered.items()}

    def find_failed(self, error: RotatorError) -> VaultRequest:
        """Return what failed in this thread. Where every answer was fine, a write had no effect, or a read was old."""
        failed: VaultRequest | None = getattr(self._last, "failed", None)
        if failed is not None:
            return failed
        return VaultRequest.WRITE if isinstance(error, UnknownOutcomeError) else VaultRequest.READ

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """See the port."""
        act = partial(self._secrets.prove_writable, location, intent, permit=permit)
        return self._ask(VaultRequest.CHANGE, location.vault, act)

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """See the port."""
        return self._ask(VaultRequest.CHANGE, location.vault, lambda: self._secrets.prove_access(location))

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """See the port."""
        return self._ask(VaultRequest.READ, vault, lambda: self._secrets.fetch_tagged(vault, account, tag))

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        return self._ask(VaultRequest.READ, location.vault, lambda: self._secrets.fetch_latest(location))

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        return self._ask(VaultRequest.READ, location.vault, lambda: self._secrets.fetch_version(location, version))

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        return self._ask(VaultRequest.READ, location.vault, lambda: self._secrets.fetch_versions(location))

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
        act = partial(self._secrets.store, location, value, expires_at=expires_at, tags=tags, permit=permit)
        return self._ask(VaultRequest.WRITE, location.vault, act)

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        act = partial(self._secrets.disable, location, version, permit=permit)
        return self._ask(VaultRequest.CHANGE, location.vault, act)

    def note_done(self, request: VaultRequest, vault: str) -> None:
        """Note that a vault was seen to have done that."""
        # Before it changes a version it reads one.
        done = {request, VaultRequest.READ} if request is VaultRequest.CHANGE else {request}
        with self._guard:
            self._answered.setdefault(name_vault_at(vault), {}).update(dict.fromkeys(done, self._clock.now()))

    def _ask(self, request: VaultRequest, vault: str, act: Callable[[], _Answer]) -> _Answer:
        self._last.failed = request
        answer = act()
        self._last.failed = None
        self.note_done(request, vault)
        return answer


class VaultNotes:
    """Records which vaults are down, and which work again. Safe for threads.

    A vault works again when it did what it could not before, in a run that met no failure of it, whatever else came of
    the PATs there. One PAT's success does not undo another one's failure in the same run.
    """

    def __init__(self, run: RunContext) -> None:
        self._watched = WatchedVaults(run.services.secrets, run.services.clock)
        self.run = replace(run, services=replace(run.services, secrets=self._watched))
        """The same run, with its vaults watched."""
        self._guard = threading.Lock()
        self._failed: set[str] = set()

    def note_error(self, pat: ManagedPat, error: RotatorError) -> None:
        """Record that the vault of a ManagedPat is down, if this error of this thread says so."""
        if is_of_vault(error):
            vault, failed = name_vault_at(pat.vault), self._watched.find_failed(error)
            with self._guard:
                self._failed.add(vault)
            notice_vault_down(self.run, vault, VaultDown(code=error.code, message=error.message, asked_to=failed.word))

    @contextmanager
    def seeing_written(self, held: ClaimedPat) -> Iterator[None]:
        """Note it when what is done inside finds a write whose answer was lost: then the vault did take it."""
        was_storing = held.has_open_rotation and held.rotation.state is RotationState.STORING
        yield
        if was_storing and held.rotation.secret_version is not None:
            self._watched.note_done(VaultRequest.WRITE, held.pat.vault)

    def list_working(self) -> list[tuple[str, Answered]]:
        """Return each vault that met no failure in this run, with what it did."""
        return [item for item in sorted(self._watched.list_answered().items()) if item[0] not in self._failed]

    def end(self, vault: str, answered: Answered) -> None:
        """Record, at the end of the work, that a vault works."""
        notice_vault_works(self.run, vault, answered)


def ask_vaults(run: RunContext) -> None:
    """Ask each vault that is down, and that nothing is tried at any more, whether it works. It changes nothing there.

    No new version is written only to ask: a vault that takes a change is believed to take one.
    """
    with run.services.database.read() as reading:
        down = find_lasting(reading, ConditionKind.VAULT_DOWN)
        standings = load_standings(run, reading).values() if down else ()
    for vault in sorted(down):
        stored = [standing for standing in standings if name_vault(standing.pat) == vault]
        if any(standing.is_retried for standing in stored):
            continue
        for pat in {standing.pat.next_account: standing.pat for standing in stored}.values():
            try:
                run.services.secrets.prove_access(SecretLocation.of(pat))
            except (DatabaseError, StoppedError):
                raise
            except RotatorError:
                continue  # another account may be let in
            notice_vault_works(run, vault, dict.fromkeys(VaultRequest, run.services.clock.now()))
            break
