"""Noticing that the database is older than the vault: it was restored from a backup, or another one writes there."""

from __future__ import annotations

from rotator.engine.claiming import ClaimedPat
from rotator.engine.tags import ROTATION_TAG
from rotator.errors import PlanRefusedError
from rotator.ports.secret_store import SecretVersion

DATABASE_BEHIND = "database_behind"


def find_behind(held: ClaimedPat, newest: SecretVersion | None) -> PlanRefusedError | None:
    """The error `database_behind` when a rotation that our journal does not know wrote the newest version."""
    writer = newest.tags.get(ROTATION_TAG) if newest is not None else None
    pat = held.pat
    with held.services.database.begin() as work:
        known = {rotation.id for rotation in work.journal.load_for(pat.name)}
    if writer is None or writer in known:
        return None
    return PlanRefusedError(
        f"{pat.name}: secret {pat.secret_name} in {pat.vault} was written by a rotation that this database does not "
        f"know ({writer}); the database looks older than the vault",
        code=DATABASE_BEHIND,
        fix="Nothing was minted or revoked. If the database was restored from a backup, run "
        "`rotator inventory rebuild`; if two installations share this secret, take it out of one.",
    )


def check_not_behind(held: ClaimedPat) -> None:
    """Raise it, from what the vault says now."""
    versions = held.services.secrets.fetch_versions(held.location)
    error = find_behind(held, versions[0] if versions else None)
    if error is not None:
        raise error
