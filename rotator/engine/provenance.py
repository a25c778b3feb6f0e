"""Who wrote a version of a secret: the one answer, by its tags and our journal.

A version's value never changes, but anybody's tool may change its tags: the journal knows the versions that we wrote by
their ids too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile

from rotator.domain.managed_pat import ManagedPat, make_place
from rotator.domain.rotation import Rotation, RotationKind, RotationState, Trace
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.engine.tags import AUTHORIZATION_TAG, PREDECESSOR_TAG, RESTORED_TAG, ROTATION_TAG, find_attempt_id
from rotator.errors import DatabaseBehindError, ForeignWriteError, RotatorError
from rotator.ports.secret_store import SecretLocation, SecretVersion, StoredSecret

_SECOND = timedelta(seconds=1)
"""The vault keeps whole seconds."""


class Writer(StrEnum):
    """Who wrote a version, seen from one ManagedPat.

    `late`: a closed rotation of ours, or an attempt to put a value back, whose write may take effect after its time,
    and whose PAT is not the current one. `ours`: any other rotation that wrote a value by our journal, or a value
    without tags that was ours to replace and that we put back. `foreign`: somebody else, even if we put it back.
    `unknown`: a rotation that our journal does not hold, or that wrote nothing as far as our journal knows, so the
    database is older than the vault or somebody shares the secret.
    """

    NOBODY = "nobody"
    LATE = "late"
    OURS = "ours"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"


class Provenance:
    """Says who wrote each version of one ManagedPat's secret.

    `current` is the PAT whose value consumers should read, `writers` are all rotations that those versions name,
    whatever record had the secret.
    """

    def __init__(self, current: str, writers: Collection[Trace]) -> None:
        self.current = current
        self._known = {r.id for r in writers if r.tried_store or r.secret_version is not None}
        self._versions = {
            r.secret_version: r.id for r in writers if r.secret_version and r.kind is RotationKind.ROTATION
        }
        self._late = {r.id for r in writers if r.may_write_late and r.stored_id != current}

    def find_writer(self, version: SecretVersion | None) -> Writer:
        """Return who wrote the version; NOBODY for None."""
        if version is None:
            return Writer.NOBODY
        if find_attempt_id(version.tags) in self._late:
            return Writer.LATE
        rotation_id = version.tags.get(ROTATION_TAG) or self._versions.get(version.version)
        if rotation_id is None:
            return Writer.OURS if RESTORED_TAG in version.tags else Writer.FOREIGN
        if rotation_id in self._late:
            return Writer.LATE
        return Writer.OURS if rotation_id in self._known else Writer.UNKNOWN


def load_provenance(run: RunContext, pat: ManagedPat, versions: Iterable[SecretVersion] = ()) -> Provenance:
    """Load the provenance of these versions of a ManagedPat's secret, by the journal as it is now.

    Once its clone is `stored`, that is what consumers should read, although the record still names the old PAT.
    """
    with run.services.database.read() as reading:
        writers = reading.journal.load_writers(pat.place, list_named(versions))
    stored = next((r.new_authorization_id for r in writers if r.state is RotationState.STORED), None)
    return Provenance(stored or pat.authorization_id, writers)


def find_writer(run: RunContext, pat: ManagedPat, version: SecretVersion | None) -> Writer:
    """Return who wrote that version of a ManagedPat's secret; NOBODY for None."""
    return load_provenance(run, pat, [version] if version else ()).find_writer(version)


def list_named(versions: Iterable[SecretVersion]) -> frozenset[str]:
    """Return what tells who wrote these versions, and whose values they hold: ids of versions, rotations and PATs."""
    named = {
        found
        for item in versions
        for found in (
            item.version,
            find_attempt_id(item.tags),
            *(item.tags.get(tag) for tag in (ROTATION_TAG, AUTHORIZATION_TAG, PREDECESSOR_TAG)),
        )
    }
    return frozenset(found for found in named if found)


def find_versions(writers: Iterable[Trace], pat: ManagedPat | None, authorization_id: str) -> frozenset[str]:
    """Return the versions that hold a PAT's value, as journal and record know them by their ids, whatever the tags."""
    made = (r for r in writers if r.kind is RotationKind.ROTATION and r.new_authorization_id == authorization_id)
    found = {rotation.secret_version for rotation in made}
    if pat is not None and pat.authorization_id == authorization_id:
        found.add(pat.secret_version)
    return frozenset(version for version in found if version is not None)


def find_writer_name(
    run: RunContext, pats: Iterable[ManagedPat], location: SecretLocation, versions: tuple[SecretVersion, ...]
) -> str | None:
    """Return the name of the record that has this secret and wrote it. It may have been renamed since."""
    place = make_place(location.vault, location.name)
    owner = next((pat.name for pat in pats if pat.place == place), None)
    if owner is None:
        return None
    with run.services.database.read() as reading:
        known = {writer.id for writer in reading.journal.load_writers(place, list_named(versions))}
    return owner if any(version.tags.get(ROTATION_TAG) in known for version in versions) else None


def is_written_by(version: SecretVersion | None, rotation: Rotation) -> bool:
    """Whether this very rotation wrote the version, or the value was put back from one that it wrote."""
    return version is not None and (
        version.version == rotation.secret_version or version.tags.get(ROTATION_TAG) == rotation.id
    )


def seems_stripped(version: SecretVersion, valid_to: datetime) -> bool:
    """Whether a version seems to hold our value of a PAT with that expiry, without our tags.

    A tool that sets tags takes ours off the version that we wrote. That still expires with its PAT, to the second.
    """
    if version.expires_at is None or AUTHORIZATION_TAG in version.tags:
        return False
    return abs(version.expires_at - valid_to) < _SECOND


def is_written_over(versions: Iterable[SecretVersion], authorization_id: str) -> bool:
    """Whether one of these versions, the newest first, holds the value of that PAT below what is not ours."""
    is_foreign = False
    for version in versions:
        if version.tags.get(AUTHORIZATION_TAG) == authorization_id:
            return is_foreign
        is_foreign = is_foreign or ROTATION_TAG not in version.tags
    return False


def split_at_listed(
    versions: Iterable[SecretVersion], listed_ids: Collection[str]
) -> tuple[tuple[SecretVersion, ...], SecretVersion | None]:
    """Return the newest version whose PAT is listed, and newer ones of ours; none older than a foreign version."""
    ours = tuple(takewhile(lambda version: ROTATION_TAG in version.tags, versions))
    for number, version in enumerate(ours):
        if version.tags.get(AUTHORIZATION_TAG) in listed_ids:
            return ours[:number], version
    return ours, None


def find_behind(held: ClaimedPat, newest: SecretVersion | None) -> DatabaseBehindError | None:
    """Return the error to raise when a rotation that our journal does not know wrote the newest version, else None."""
    return find_unknown_writer(held.run, held.pat, newest)


def find_unknown_writer(run: RunContext, pat: ManagedPat, newest: SecretVersion | None) -> DatabaseBehindError | None:
    """Do what `find_behind` does, for a record that need not be claimed."""
    try:
        find_known_writer(run, pat, newest)
    except DatabaseBehindError as error:
        return error
    return None


def find_known_writer(run: RunContext, pat: ManagedPat, newest: SecretVersion | None) -> Writer:
    """Return who wrote the newest version. DatabaseBehindError when a rotation did that our journal does not know."""
    writer = find_writer(run, pat, newest)
    if newest is None or writer is not Writer.UNKNOWN:
        return writer
    raise DatabaseBehindError(
        f"secret {pat.secret_name} in {pat.vault} was written by rotation {newest.tags.get(ROTATION_TAG)}, and "
        "this database knows of no such write; the database looks older than the vault",
        fix="Nothing was minted or revoked. If the database was restored from a backup, run "
        "`rotator inventory rebuild`; if two installations share this secret, remove it from one of them.",
    )


def make_occupied(pat: ManagedPat) -> ForeignWriteError:
    """Make the error for when the secret of a PAT that is to be created holds what somebody else wrote."""
    return ForeignWriteError(
        f"secret {pat.secret_name} in {pat.vault} holds something that rotator did not write; nothing was minted",
        code="secret_occupied",
        fix="Choose another secret with --secret, or adopt the PAT whose value it holds.",
    )


def make_foreign(held: ClaimedPat, latest: StoredSecret | None) -> RotatorError:
    """Make the error for when consumers no longer read what the rotation at hand wrote."""
    rotation = held.rotation
    if latest is None:
        return ForeignWriteError(
            f"secret {rotation.secret_name} in {rotation.vault} is gone: somebody deleted it; rotator revoked neither "
            f"{rotation.predecessor_id} nor {rotation.new_authorization_id}",
            fix="Find out who deleted it and recover it in the vault, or purge it; "
            f"then `rotator rotate {held.pat.name}` writes a new value.",
        )
    return find_behind(held, latest.version) or ForeignWriteError(
        f"secret {rotation.secret_name} in {rotation.vault} was written by somebody else "
        f"since; rotator revoked neither {rotation.predecessor_id} nor {rotation.new_authorization_id}",
        fix=f"Find out who writes this secret, stop that, then `rotator rotate {held.pat.name}`.",
    )
