"""Read the vault although a read may be one version old: another writer is believed only on positive sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.engine.provenance import is_written_by
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.engine.waiting import Patience
from rotator.errors import RejectedError, TransientError, UnknownOutcomeError
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret

T = TypeVar("T")
DISABLED = "secret_disabled"
"""The code of the refusal to show a version that is disabled."""
_LOOKS = 3
_BETWEEN_LOOKS = 1.0
"""In seconds."""


def fetch_history(secrets: SecretStore, location: SecretLocation) -> tuple[SecretVersion, ...]:
    """Return all versions that two looks show, the newest first: the list, and the latest where the list lacks it.

    A canary has none.
    """
    if location.is_nowhere:
        return ()
    versions = secrets.fetch_versions(location)
    try:
        latest = secrets.fetch_latest(location)
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return versions
    if latest is None or _is_in(latest.version, versions):
        return versions
    return (latest.version, *versions)


def look_twice(run: RunContext, look: Callable[[], T | None]) -> T | None:
    """Return what a look finds, or else what it finds a moment later: one moment's reads may all be old.

    For what is about to be called absent, and would be found too late by the next run. StoppedError on a stop.
    """
    found = look()
    if found is None:
        run.services.stop.wait(_BETWEEN_LOOKS)
        found = look()
    return found


def is_shown(run: RunContext, location: SecretLocation, version: str) -> bool:
    """Whether the vault shows, by its id, the version that it answered as written: the answer alone proves nothing.

    Two looks, a second apart, must show none to say no. StoppedError on a stop.
    """

    def look() -> bool | None:
        try:
            return run.services.secrets.fetch_version(location, version) is not None or None
        except RejectedError as error:
            if error.code != DISABLED:
                raise
            return True

    return look_twice(run, look) is not None


def make_ignored(location: SecretLocation, answer_ids: AnswerIds = NO_IDS) -> UnknownOutcomeError:
    """Make the error for when a write was answered as done and had no effect. It may still take effect, late."""
    return UnknownOutcomeError(
        f"{location.vault} reported secret {location.name} as written, but does not have that version",
        service="key_vault",
        operation="store_secret",
        code="secret_write_ignored",
        answer_ids=answer_ids,
        fix="Nothing to do: rotator tries again later. Nobody else has written the secret.",
    )


def fetch_newest(secrets: SecretStore, pat: ManagedPat) -> StoredSecret | None:
    """Return the newer of what two looks show: the latest version, and the one on top of the list; a canary has none.

    TransientError `vault_reads_old` as for `look_past_disabled`.
    """
    location = SecretLocation.of(pat)
    if location.is_nowhere:
        return None
    latest = _fetch_latest(secrets, pat)
    return _fetch_newer(secrets, location, latest, secrets.fetch_versions(location))


def fetch_known_newest(held: ClaimedPat) -> StoredSecret | None:
    """Return the newer of two looks, with a list that is no older than the version that our record names.

    A canary has none. TransientError `vault_reads_old` as for `fetch_known_history` and `look_past_disabled`.
    """
    secrets, location = held.services.secrets, held.location
    if location.is_nowhere:
        return None
    latest = _fetch_latest(secrets, held.pat)
    return _fetch_newer(secrets, location, latest, fetch_known_history(held))


def _fetch_newer(
    secrets: SecretStore, location: SecretLocation, latest: StoredSecret | None, versions: tuple[SecretVersion, ...]
) -> StoredSecret | None:
    newest = find_newer(latest.version if latest is not None else None, versions)
    if newest is None or (latest is not None and newest.version == latest.version.version):
        return latest
    return secrets.fetch_version(location, newest.version) or latest


def find_newer(seen: SecretVersion | None, versions: tuple[SecretVersion, ...]) -> SecretVersion | None:
    """Return the newer of a version that was seen as the latest, and the one on top of a list.

    What a list lacks is newer than the list.
    """
    return versions[0] if versions and (seen is None or _is_in(seen, versions)) else seen


def fetch_served(held: ClaimedPat, *, twice: bool = False) -> StoredSecret | None:
    """Return what consumers read now: what this rotation wrote, or what came after it.

    With `twice`, ours must not have another one above it in the list either.
    An older version is no sight of another writer: then the vault is asked again, for as long as a value is held
    for it. TransientError `vault_reads_old` when it still shows an older one, although ours can be read by its id,
    and as for `look_past_disabled`.
    """
    patience = _make_patience(held)
    while True:
        latest = _fetch_latest(held.services.secrets, held.pat)
        if is_ours(held, latest) and not twice:
            return latest
        newest = _find_newer(held, latest)
        if newest is not None or is_ours(held, latest):
            return newest or latest
        if not patience.wait():
            _check_gone(held.services.secrets, held.pat, held.rotation.secret_version)
            return latest


def fetch_known_history(held: ClaimedPat) -> tuple[SecretVersion, ...]:
    """Return all versions, the newest first, once a look is no older than the version that our record names.

    That is the one that we wrote, or else the one that a person saw and confirmed. TransientError `vault_reads_old`
    when the list goes without it, although it is there.
    """
    patience = _make_patience(held)
    while True:
        versions = held.services.secrets.fetch_versions(held.location)
        if _is_known(held.pat, versions):
            return versions
        if not patience.wait():
            _check_gone(held.services.secrets, held.pat, held.pat.secret_version or held.pat.confirmed_version)
            return versions


def look_past_disabled(secrets: SecretStore, pat: ManagedPat, look: Callable[[], T]) -> T:
    """Return what a look at the newest version finds, and look again where it met an older one that is disabled.

    TransientError `vault_reads_old` when each look did; RejectedError `secret_disabled` when the newest is disabled.
    """
    for _ in range(_LOOKS):
        try:
            return look()
        except RejectedError as error:
            if error.code != DISABLED or _is_newest_disabled(secrets, pat):
                raise
    raise _make_reads_old(pat)


def _is_newest_disabled(secrets: SecretStore, pat: ManagedPat) -> bool:
    """Whether no enabled version is on top of a list that has the version that the record names, if it is there."""
    location, known = SecretLocation.of(pat), pat.secret_version or pat.confirmed_version
    versions = secrets.fetch_versions(location)
    if versions and versions[0].enabled:
        return False
    return known is None or _is_known(pat, versions) or secrets.fetch_version(location, known) is None


def _fetch_latest(secrets: SecretStore, pat: ManagedPat) -> StoredSecret | None:
    return look_past_disabled(secrets, pat, lambda: secrets.fetch_latest(SecretLocation.of(pat)))


def _is_known(pat: ManagedPat, versions: tuple[SecretVersion, ...]) -> bool:
    """Whether a list is no older than the version that a record names."""
    known = pat.secret_version or pat.confirmed_version
    return known is None or known in {version.version for version in versions}


def _is_in(seen: SecretVersion, versions: tuple[SecretVersion, ...]) -> bool:
    return any(version.version == seen.version for version in versions)


def is_ours(held: ClaimedPat, latest: StoredSecret | None) -> bool:
    """Whether what consumers read now was written by this rotation."""
    return latest is not None and _is_by_rotation(held, latest.version)


def is_forged(secrets: SecretStore, location: SecretLocation, latest: StoredSecret, known: str | None) -> bool:
    """Whether somebody wrote another value with our tags, as tools do that roll back or copy a secret.

    `known` is the version that we wrote. Another one may also be a second write of the same value; the values tell. One
    that cannot be compared counts as another.
    """
    if known is None or latest.version.version == known:
        return False
    try:
        ours = secrets.fetch_version(location, known)
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return True
    return ours is None or not ours.value.same_as(latest.value)


def _is_by_rotation(held: ClaimedPat, version: SecretVersion) -> bool:
    if version.version == held.rotation.secret_version:
        return True
    return (
        is_written_by(version, held.rotation)
        and version.tags.get(AUTHORIZATION_TAG) == held.rotation.new_authorization_id
    )


def _find_newer(held: ClaimedPat, latest: StoredSecret | None) -> StoredSecret | None:
    """Return the version that is listed above ours, or that is so new that a list with ours lacks it.

    One with our tags above the version that was read as ours may be a copy: it is for its value to tell.
    """
    secrets = held.services.secrets
    versions = secrets.fetch_versions(held.location)
    if not any(_is_by_rotation(held, version) for version in versions):
        return None
    if latest is not None and latest.version.version not in {version.version for version in versions}:
        return latest
    is_copied = latest is not None and is_ours(held, latest) and versions[0].version != latest.version.version
    is_top = _is_by_rotation(held, versions[0]) and not is_copied
    return None if is_top else secrets.fetch_version(held.location, versions[0].version)


def _check_gone(secrets: SecretStore, pat: ManagedPat, version: str | None) -> None:
    """TransientError when a version that looks in vain were made for can be read by its id."""
    if version is None or secrets.fetch_version(SecretLocation.of(pat), version) is None:
        return
    raise _make_reads_old(pat)


def _make_reads_old(pat: ManagedPat) -> TransientError:
    return TransientError(
        f"reads of secret {pat.secret_name} in {pat.vault} are older than what was written there",
        service="key_vault",
        operation="fetch_secret",
        code="vault_reads_old",
        fix="This usually passes by itself, within minutes. Nothing was revoked.",
    )


def _make_patience(held: ClaimedPat) -> Patience:
    run = held.run
    return Patience(run.services.boot, run.services.stop, run.services.timing.store_patience)
