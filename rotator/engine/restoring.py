"""Healing the vault after a write of ours landed too late: the committed value is put back."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.audit_event import Outcome
from rotator.domain.rotation import RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.ports import SecretVersion, StoredSecret
from rotator.engine.tags import AUTHORIZATION_TAG, INTENT_TAG, RESTORED_TAG, ROTATION_TAG
from rotator.errors import VerificationError

GIVEN_UP = frozenset({RotationState.ABANDONING, RotationState.ABANDONED})


def restore_committed(held: ClaimedPat) -> bool:
    """Put the committed value back if consumers read that of an attempt that was given up; whether it was done.

    The committed value is the vault's newest version with the inventory's authorization id, else the newest that
    no given-up attempt of ours wrote. It must authenticate. An overlap that was running starts again.
    """
    engine = held.engine
    latest = engine.secrets.fetch_latest(held.location)
    given_up = _load_given_up(held)
    if latest is None or latest.version.tags.get(ROTATION_TAG) not in given_up:
        return False
    committed = _find_committed(held, given_up)
    if committed is None:
        return False
    held.save(
        held.pat,
        "restore_started",
        Outcome.INTENDED,
        late_version=latest.version.version,
        committed_version=committed.version.version,
    )
    held.check_claim()
    version = engine.secrets.store(
        held.location,
        committed.value,
        expires_at=committed.version.expires_at or held.pat.valid_to,
        tags={key: value for key, value in committed.version.tags.items() if key != INTENT_TAG}
        | {RESTORED_TAG: held.pat.name},
    )
    held.save(replace(held.pat, secret_version=version), "secret_restored", Outcome.SUCCEEDED, secret_version=version)
    if held.has_open_rotation and held.rotation.state is RotationState.OVERLAPPING:
        held.learn(secret_version=version, overlap_until=engine.clock.now() + held.rotation.overlap)
    return True


def _load_given_up(held: ClaimedPat) -> frozenset[str]:
    with held.engine.database.begin() as work:
        rotations = work.journal.load_for(held.pat.name)
    return frozenset(rotation.id for rotation in rotations if rotation.state in GIVEN_UP)


def _find_committed(held: ClaimedPat, given_up: frozenset[str]) -> StoredSecret | None:
    secrets = held.engine.secrets
    candidates = [
        version
        for version in secrets.fetch_versions(held.location)
        if version.enabled and version.tags.get(ROTATION_TAG) not in given_up
    ]
    current = held.pat.authorization_id
    candidates.sort(key=lambda version: version.tags.get(AUTHORIZATION_TAG) != current)
    return next((found for version in candidates[:2] if (found := _fetch_live(held, version))), None)


def _fetch_live(held: ClaimedPat, version: SecretVersion) -> StoredSecret | None:
    found = held.engine.secrets.fetch_version(held.location, version.version)
    if found is None:
        return None
    try:
        held.engine.pats.verify(held.pat.organization, found.value)
    except VerificationError:
        return None
    return found
