"""Copies: versions that carry our tags and were written by a tool that copies a secret or rolls it back.

Tags can be put on any value, and taken off ours. So what carries them is compared with what journal and record know by
its id: with our version where that is known, else with the values of the PATs that are to be revoked. A clone's value
is none of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation, Trace
from rotator.engine.claiming import ClaimedPat
from rotator.engine.provenance import find_versions, is_written_by
from rotator.engine.reading import DISABLED, fetch_history, is_forged
from rotator.engine.tags import AUTHORIZATION_TAG, PREDECESSOR_TAG, ROTATION_TAG
from rotator.errors import RejectedError
from rotator.ports.database import Reading
from rotator.ports.secret_store import SecretLocation, SecretStore, SecretVersion, StoredSecret

_MOST_BELOW = 10
"""How many versions below ours are compared with what stood above it."""


def find_written(held: ClaimedPat) -> str | None:
    """Return the oldest version of the secret that the rotation at hand wrote, by our tags; None for mere copies."""
    found, secrets = _list_tagged(held), held.services.secrets
    old = held.load(lambda reading: _list_old(reading, held.pat, held.rotation)) if found else ()
    return next((version for version in found if not _is_rolled_back(secrets, held.location, version, old)), None)


def is_copied(held: ClaimedPat) -> bool:
    """Whether versions carry the tags of the rotation at hand, and none of them is its own."""
    return bool(_list_tagged(held)) and find_written(held) is None


def is_copy(
    secrets: SecretStore,
    location: SecretLocation,
    versions: Sequence[SecretVersion],
    writers: Collection[Trace],
    record: ManagedPat | None,
) -> bool:
    """Whether somebody wrote the first of these versions, the newest first, with our tags on another value.

    Where journal and record know no version of that PAT, the oldest with these tags is ours, unless it holds the value
    of the PAT that it says it replaced.
    """
    newest = versions[0]
    known = find_versions(writers, record, newest.tags.get(AUTHORIZATION_TAG, ""))
    if newest.version in known:
        return False
    found = fetch_enabled(secrets, location, newest.version)
    if known:
        return found is None or differs(secrets, location, found, known)
    tagged = [item.version for item in versions if item.tags.get(ROTATION_TAG) == newest.tags[ROTATION_TAG]]
    if found is None:
        return newest.version != tagged[-1]
    old_id = newest.tags.get(PREDECESSOR_TAG)
    old = {item.version for item in versions if old_id and item.tags.get(AUTHORIZATION_TAG) == old_id}
    old |= _find_old(writers, record, [old_id])
    return is_forged(secrets, location, found, tagged[-1]) or _holds_one(secrets, location, found, old)


def was_interrupted(held: ClaimedPat, newest: StoredSecret, known: str) -> bool:
    """Whether the secret held an older value between the version `known` and the newest one, which has the same value.

    One that cannot be read counts as older, and so does any other where no older one can be read.
    """
    secrets, location = held.services.secrets, held.location
    versions = [version.version for version in fetch_history(secrets, location)]
    newer = list(takewhile(lambda version: version != known, versions))
    between = [fetch_enabled(secrets, location, version) for version in newer if version != newest.version.version]
    others = [found for found in between if found is None or not found.value.same_as(newest.value)]
    if not others:
        return False
    below = (fetch_enabled(secrets, location, version) for version in versions[len(newer) + 1 :][:_MOST_BELOW])
    older = [found for found in below if found is not None]
    return not older or any(found is None or any(found.value.same_as(old.value) for old in older) for found in others)


def differs(secrets: SecretStore, location: SecretLocation, found: StoredSecret, known: Iterable[str]) -> bool:
    """Whether a value is none of those that these versions hold. One that cannot be compared counts as another."""
    return all(is_forged(secrets, location, found, version) for version in known)


def _holds_one(secrets: SecretStore, location: SecretLocation, found: StoredSecret, old: Iterable[str]) -> bool:
    """Whether a value is one of those that these versions hold. Nobody copies one that is disabled."""
    return any(
        other is not None and other.value.same_as(found.value)
        for other in (fetch_enabled(secrets, location, version) for version in old)
    )


def _list_tagged(held: ClaimedPat) -> list[str]:
    versions = fetch_history(held.services.secrets, held.location)
    return [version.version for version in reversed(versions) if is_written_by(version, held.rotation)]


def _list_old(reading: Reading, pat: ManagedPat, rotation: Rotation) -> frozenset[str]:
    """Return the versions that hold the values of the PATs that are to be revoked once the clone is in use."""
    doomed = {rotation.predecessor_id, *(item.authorization_id for item in reading.revocations.load_for([pat.name]))}
    doomed -= {rotation.new_authorization_id or "", ""}
    return _find_old(reading.journal.load_writers(pat.place, doomed), pat, doomed)


def _find_old(writers: Collection[Trace], pat: ManagedPat | None, doomed: Iterable[str | None]) -> frozenset[str]:
    """Return the versions that hold the values of these PATs, and the one that a person confirmed as the record's."""
    ids = frozenset(found for found in doomed if found)
    confirmed = pat.confirmed_version if pat is not None and pat.authorization_id in ids else None
    known = (find_versions(writers, pat, authorization_id) for authorization_id in ids)
    return frozenset[str]().union(*known, {confirmed} if confirmed else ())


def _is_rolled_back(secrets: SecretStore, location: SecretLocation, version: str, old: Iterable[str]) -> bool:
    found = fetch_enabled(secrets, location, version)
    return found is None or _holds_one(secrets, location, found, old)


def fetch_enabled(secrets: SecretStore, location: SecretLocation, version: str) -> StoredSecret | None:
    """Return a version; None when it is gone or disabled."""
    try:
        return secrets.fetch_version(location, version)
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return None
