"""Repair the vault after a write of ours took effect late: the committed value is written again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.events.rotations import RestoreStarted, SecretRestored
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import RunContext
from rotator.engine.provenance import Writer, load_provenance
from rotator.engine.reading import fetch_newest
from rotator.engine.replacing import identify
from rotator.engine.tags import AUTHORIZATION_TAG, INTENT_TAG, RESTORED_TAG
from rotator.errors import VerificationError
from rotator.ports.secret_store import SecretVersion, StoredSecret


def restore_committed(held: ClaimedPat) -> bool:
    """Put the committed value back if consumers read a late write of an earlier rotation. Return whether it did so.

    The committed value is the vault's newest version with the inventory's authorization id, else the newest that
    no such rotation wrote. It must authenticate. An overlap that was running starts again.
    """
    run, latest = held.run, find_late_write(held.run, held.pat)
    if latest is None:
        return False
    committed = _find_committed(held)
    if committed is None:
        return False
    attempt = _make_attempt(held)
    started = RestoreStarted(late_version=latest.version.version, committed_version=committed.version.version)
    held.begin_attempt(attempt, started)
    held.check_claim()
    written = run.services.secrets.store(
        held.location,
        committed.value,
        expires_at=committed.version.expires_at or held.pat.valid_to,
        tags={key: value for key, value in committed.version.tags.items() if key != INTENT_TAG}
        | {RESTORED_TAG: attempt.id},
    )
    version = str(written)
    held.note_answer(written.answer_ids)
    answered = attempt.note(run.services.clock.now(), secret_version=version, tried_store=False)
    held.end_attempt(answered, replace(held.pat, secret_version=version), SecretRestored(secret_version=version))
    if held.has_open_rotation and held.rotation.state is RotationState.OVERLAPPING:
        until, began = max(list_moments(held)) + held.rotation.overlap, run.services.boot.read_boot()
        held.learn(secret_version=version, overlap_until=until, overlap_began=began)
    return True


def _make_attempt(held: ClaimedPat) -> Rotation:
    """Make the journal's line of one write of the current value, which has no answer yet."""
    pat, now = held.pat, held.services.clock.now()
    return Rotation(
        id=held.services.entropy.make_id(),
        name=pat.name,
        account=pat.account,
        organization=pat.organization,
        display_name=pat.display_name,
        scope=pat.scope,
        predecessor_id=pat.authorization_id,
        predecessor_valid_to=pat.valid_to,
        rule="",
        vault=pat.vault,
        secret_name=pat.secret_name,
        overlap=timedelta(0),
        disable_previous=False,
        created_at=now,
        updated_at=now,
        state=RotationState.COMPLETED,
        tried_store=True,
        kind=RotationKind.RESTORE,
    )


def find_late_write(run: RunContext, pat: ManagedPat) -> StoredSecret | None:
    """Return the late write of an earlier rotation that consumers read now, if any. Changes nothing."""
    latest = fetch_newest(run.services.secrets, pat)
    if latest is None or load_provenance(run, pat).find_writer(latest.version) is not Writer.LATE:
        return None
    return latest


def _find_committed(held: ClaimedPat) -> StoredSecret | None:
    provenance = load_provenance(held.run, held.pat)
    candidates = [
        version
        for version in held.services.secrets.fetch_versions(held.location)
        if version.enabled and provenance.find_writer(version) is not Writer.LATE
    ]
    current = held.pat.authorization_id
    candidates.sort(key=lambda version: version.tags.get(AUTHORIZATION_TAG) != current)
    return next((found for version in candidates[:2] if (found := _fetch_live(held, version))), None)


def _fetch_live(held: ClaimedPat, version: SecretVersion) -> StoredSecret | None:
    found = held.services.secrets.fetch_version(held.location, version.version)
    if found is None:
        return None
    try:
        identify(held.run, held.pat.organization, found.value)
    except VerificationError:
        return None
    return found
