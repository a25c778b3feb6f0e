"""A vault in memory, for tests of the engine: the real adapter's behaviour and errors, and failures on request.

`tests/contract/test_secret_store.py` holds it to the same suite as the adapter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.secret_value import SecretValue
from rotator.engine.tags import find_attempt_id
from rotator.errors import DeniedError, FailureKind, RejectedError, RotatorError, TransientError, UnknownOutcomeError
from rotator.ports.clock import Clock
from rotator.ports.permit import Permit
from rotator.ports.secret_store import MOST_TAGS, SecretLocation, SecretVersion, StoredSecret, WrittenVersion

_LIST, _GET, _SET = "list", "get", "set"


@dataclass
class _Planned:
    operation: str
    error: RotatorError
    after_effect: bool
    skip: int
    times: int


@dataclass
class _Secret:
    versions: list[StoredSecret] = field(default_factory=list)
    """The oldest first."""
    deleted: bool = False


class FakeSecretStore:
    """Port SecretStore. Thread-safe.

    `denied` holds permissions (get, list, set) that nobody has; `firewall` lets nobody in. `is_stale` is asked at each
    read but those by version id, and True lets it show the secret as it was before its newest version.
    `ignores_store` is asked at each write, and True lets it be answered as done and do nothing.
    `calls` lists every call as method name and location, refused ones too. `answer_ids` are the ids of every answer to
    a change.
    """

    def __init__(self, clock: Clock) -> None:
        self.denied: set[str] = set()
        self.firewall = False
        self.is_stale: Callable[[], bool] = lambda: False
        self.ignores_store: Callable[[], bool] = lambda: False
        self.calls: list[tuple[str, SecretLocation]] = []
        self.answer_ids: AnswerIds = NO_IDS
        self._clock = clock
        self._secrets: dict[tuple[str, str], _Secret] = {}
        self._planned: list[_Planned] = []
        self._late: list[tuple[SecretLocation, StoredSecret]] = []
        self._postponed_stores = self._postponed_restores = 0
        self._made = 0
        self._lock = threading.RLock()

    # What a test arranges.

    def fail(
        self,
        operation: str,
        error: RotatorError | None = None,
        *,
        after_effect: bool = False,
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """Let a coming call of a method fail: before its effect or after it.

        `skip` calls pass first, then `times` fail. The default error is the one of a lost answer.
        """
        with self._lock:
            lost = error or make_lost_answer(operation)
            self._planned.append(_Planned(operation, lost, after_effect, skip, times))

    def postpone_store(self) -> None:
        """Let the answer of the next store be lost, and its effect wait for `apply_late`."""
        with self._lock:
            self._postponed_stores += 1

    def postpone_restore(self) -> None:
        """Do the same to the next store that puts a value back."""
        with self._lock:
            self._postponed_restores += 1

    @property
    def has_late(self) -> bool:
        """Whether a postponed store has not happened yet."""
        return bool(self._late)

    def apply_late(self) -> int:
        """Let the postponed stores happen now; how many there were."""
        with self._lock:
            landing, self._late = self._late, []
            for location, stored in landing:
                self._append(location, replace(stored, version=replace(stored.version, created_at=self._second())))
            return len(landing)

    def write_foreign(
        self, location: SecretLocation, value: str, tags: dict[str, str] | None = None, *, enabled: bool = True
    ) -> str:
        """A version that somebody else writes; its id."""
        with self._lock:
            stored = self._make(SecretValue(value), None, tags or {}, enabled=enabled)
            self._append(location, stored)
            return WrittenVersion(stored.version.version, self.answer_ids)

    def replace_tags(self, location: SecretLocation, tags: dict[str, str]) -> None:
        """Somebody's tool sets these tags on the newest version, and takes off all others."""
        self._edit(location, -1, lambda version: replace(version, tags=tags))

    def disable_foreign(self, location: SecretLocation, number: int) -> None:
        """Somebody disables a version, counted from the oldest."""
        self._edit(location, number, lambda version: replace(version, enabled=False))

    def _edit(self, location: SecretLocation, number: int, edit: Callable[[SecretVersion], SecretVersion]) -> None:
        with self._lock:
            versions = self._secrets[location.vault, location.name].versions
            versions[number] = replace(versions[number], version=edit(versions[number].version))

    def soft_delete(self, location: SecretLocation) -> None:
        """Delete the secret, recoverably."""
        with self._lock:
            self._secrets[location.vault, location.name].deleted = True

    def recover(self, location: SecretLocation) -> None:
        """Bring a deleted secret back."""
        with self._lock:
            self._secrets[location.vault, location.name].deleted = False

    def versions_of(self, location: SecretLocation) -> tuple[StoredSecret, ...]:
        """What the vault holds, the newest first, whatever is denied; nothing for a deleted secret."""
        with self._lock:
            return tuple(reversed(self._alive(location).versions))

    # The port.

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """As the port says; the newest version's tags get `intent`."""
        permit()
        with self._lock, self._call("prove_writable", location, _LIST, _GET, _SET):
            secret = self._secrets.get((location.vault, location.name), _Secret())
            if secret.deleted:
                raise _rejected(location, "prove_writable", "secret_soft_deleted")
            if not secret.versions:
                return None
            index = len(secret.versions) - (2 if len(secret.versions) > 1 and self.is_stale() else 1)
            newest = secret.versions[index]
            if not newest.version.enabled:
                raise _rejected(location, "prove_writable", "secret_disabled")
            tags = {**newest.version.tags, **intent}
            if len(tags) > MOST_TAGS:
                raise _rejected(location, "prove_writable", "secret_tags_full")
            secret.versions[index] = replace(newest, version=replace(newest.version, tags=tags))
            return newest.version

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """As the port says."""
        with self._lock, self._call("prove_access", location, _LIST, _GET, _SET):
            if self._secrets.get((location.vault, location.name), _Secret()).deleted:
                raise _rejected(location, "prove_access", "secret_soft_deleted")
            versions = self._alive(location).versions
            return self._readable(location, versions[-1]).version if versions else None

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """As the port says."""
        location = SecretLocation(vault, "", account)
        with self._lock, self._call("fetch_tagged", location, _LIST):
            here = sorted((name, secret) for (place, name), secret in self._secrets.items() if place == vault)
            newest = {
                name: secret.versions[-1].version for name, secret in here if secret.versions and not secret.deleted
            }
            return {name: version.tags[tag] for name, version in newest.items() if tag in version.tags}

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """As the port says."""
        with self._lock, self._call("fetch_latest", location, _GET):
            versions = self._show(location)
            return self._readable(location, versions[-1]) if versions else None

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """As the port says."""
        with self._lock, self._call("fetch_version", location, _GET):
            for stored in self._alive(location).versions:
                if stored.version.version == version:
                    return self._readable(location, stored)
            return None

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """As the port says."""
        with self._lock, self._call("fetch_versions", location, _LIST):
            return tuple(stored.version for stored in reversed(self._show(location)))

    def store(
        self,
        location: SecretLocation,
        value: SecretValue,
        *,
        expires_at: datetime | None,
        tags: dict[str, str],
        permit: Permit,
    ) -> WrittenVersion:
        """As the port says."""
        permit()
        with self._lock, self._call("store", location, _SET):
            if self._secrets.get((location.vault, location.name), _Secret()).deleted:
                raise _rejected(location, "store", "secret_soft_deleted")
            if len(tags) > MOST_TAGS:
                raise _rejected(location, "store", "vault_rejected")
            stored = self._make(value, expires_at, tags)
            is_restore = self._postponed_restores > 0 and find_attempt_id(tags) is not None
            if self._postponed_stores or is_restore:
                self._postponed_restores -= is_restore
                self._postponed_stores -= not is_restore
                self._late.append((location, stored))
                raise make_lost_answer("store")
            if not self.ignores_store():
                self._append(location, stored)
            return WrittenVersion(stored.version.version, self.answer_ids)

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """As the port says."""
        permit()
        with self._lock, self._call("disable", location, _SET):
            versions = self._alive(location).versions
            for index, stored in enumerate(versions):
                if stored.version.version == version:
                    versions[index] = replace(stored, version=replace(stored.version, enabled=False))
                    return self.answer_ids
            raise _rejected(location, "disable", "secret_not_found", status=404)

    def _call(self, operation: str, location: SecretLocation, *permissions: str) -> _FailureGate:
        self.calls.append((operation, location))
        if self.firewall:
            raise _denied(location, operation, "vault_firewall", "the network rules do not let this host in")
        for permission in permissions:
            if permission in self.denied:
                raise _denied(location, operation, "vault_denied", f"the permission `{permission}` is missing")
        for planned in self._planned:
            if planned.operation != operation:
                continue
            if planned.skip:
                planned.skip -= 1
                continue
            planned.times -= 1
            if not planned.times:
                self._planned.remove(planned)
            if not planned.after_effect:
                raise planned.error
            return _FailureGate(planned.error)
        return _FailureGate(None)

    def _alive(self, location: SecretLocation) -> _Secret:
        secret = self._secrets.get((location.vault, location.name))
        return _Secret() if secret is None or secret.deleted else secret

    def _show(self, location: SecretLocation) -> list[StoredSecret]:
        """The versions that a read shows, the oldest first."""
        versions = self._alive(location).versions
        return versions[:-1] if self.is_stale() else versions

    def _readable(self, location: SecretLocation, stored: StoredSecret) -> StoredSecret:
        if not stored.version.enabled:
            raise _rejected(location, "fetch", "secret_disabled")
        return replace(stored, version=replace(stored.version, tags=dict(stored.version.tags)))

    def _make(
        self, value: SecretValue, expires_at: datetime | None, tags: dict[str, str], *, enabled: bool = True
    ) -> StoredSecret:
        self._made += 1
        whole = None if expires_at is None else expires_at.astimezone(UTC).replace(microsecond=0)
        version = SecretVersion(f"{self._made:032x}", dict(tags), enabled, self._second(), whole)
        return StoredSecret(version, value)

    def _append(self, location: SecretLocation, stored: StoredSecret) -> None:
        self._secrets.setdefault((location.vault, location.name), _Secret()).versions.append(stored)

    def _second(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


class _FailureGate:
    """Around an effect: raises the planned error when it is done, unless the effect was refused itself."""

    def __init__(self, error: RotatorError | None) -> None:
        self._error = error

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None and self._error is not None:
            raise self._error


def make_lost_answer(operation: str) -> RotatorError:
    """What the adapter raises when a call was sent and its answer is lost."""
    kind = UnknownOutcomeError if operation == "store" else TransientError
    return kind(
        "the vault closed the connection before the answer was complete",
        service="key_vault",
        operation=operation,
        code="connection_lost",
        fix="This usually passes by itself.",
    )


def _rejected(location: SecretLocation, operation: str, code: str, status: int | None = None) -> RejectedError:
    return RejectedError(
        f"secret {location.name} in {location.vault}: {code}",
        service="key_vault",
        operation=operation,
        status=status,
        code=code,
        fix=f"See to secret {location.name} in {location.vault}.",
    )


def _denied(location: SecretLocation, operation: str, code: str, reason: str) -> DeniedError:
    return DeniedError(
        f"secret {location.name} in {location.vault}: {reason}",
        service="key_vault",
        operation=operation,
        status=403,
        code=code,
        kind=FailureKind.DENIED,
        fix=f"Allow it in {location.vault}: {reason}.",
    )
