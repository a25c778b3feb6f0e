"""Repair the vault after a write of ours took effect late: the committed value is written again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto

from rotator.domain.events.rotations import RestoreStarted, SecretRestored, SecretWriteIgnored
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation, RotationChanges, RotationKind, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import RunContext
from rotator.engine.copies import differs, find_written
from rotator.engine.listing import ServerView
from rotator.engine.lost_clone import return_if_clone_lost
from rotator.engine.provenance import Writer, find_versions, find_writer, list_named, load_provenance
from rotator.engine.reading import fetch_newest, is_shown, look_twice, make_ignored
from rotator.engine.replacing import identify
from rotator.engine.tags import AUTHORIZATION_TAG, ROTATION_TAG, find_attempt_id, make_restored_tags
from rotator.errors import FailureKind, VerificationError
from rotator.ports.secret_store import SecretVersion, StoredSecret

_MOST_COMMITTED = 3
"""How many versions that name the current PAT are looked at, the newest first, beside those that we know."""
_ATTEMPTS = 3
"""How often a run writes a value back that the vault answers as written and does not have."""


class Restored(Enum):
    """What came of a look for a late write: there is none, it was undone, or nothing to put back signs in now."""

    NOTHING = auto()
    DONE = auto()
    KEPT = auto()


def restore_committed(held: ClaimedPat) -> Restored:
    """Put the committed value back if consumers read a late write of an earlier rotation. Return what came of it.

    The committed value is that of the current PAT, or of a clone that was stored and not read back yet; where no tags
    say whose a version is, the newest that no such rotation wrote. It must authenticate. What somebody else wrote stays
    theirs, put back as it was; else an overlap that was running starts again. It is done when the vault shows what was
    written; UnknownOutcomeError `secret_write_ignored` when no attempt had an effect.
    """
    for _ in range(_ATTEMPTS):
        latest = find_late_write(held.run, held.pat)
        if latest is None:
            return Restored.NOTHING
        current, known = _find_current(held)
        committed = _find_committed(held, latest.version, current, known)
        if committed is None:
            return Restored.KEPT
        if _write_back(held, latest, committed, current, is_foreign=_is_foreign(held, committed.version, known)):
            return Restored.DONE
    raise make_ignored(held.location)


def _write_back(
    held: ClaimedPat, latest: StoredSecret, committed: StoredSecret, current: str, *, is_foreign: bool
) -> bool:
    """Write the committed value over a late one, as one attempt. Return whether the vault shows it then."""
    run = held.run
    attempt = _make_attempt(held, current)
    started = RestoreStarted(late_version=latest.version.version, committed_version=committed.version.version)
    held.begin_attempt(attempt, started)
    written = run.services.secrets.store(
        held.location,
        committed.value,
        expires_at=committed.version.expires_at or held.pat.valid_to,
        tags=make_restored_tags(committed.version.tags, attempt.id, is_foreign=is_foreign),
        permit=held.check_claim,
    )
    version = str(written)
    held.note_answer(written.answer_ids)
    if not is_shown(run, held.location, version):
        # It stays an attempt without an answer: it may take effect late.
        held.end_attempt(attempt, held.pat, SecretWriteIgnored(secret_version=version))
        return False
    answered = attempt.note(run.services.clock.now(), secret_version=version, tried_store=False)
    is_recorded = not is_foreign and current == held.pat.authorization_id
    pat = replace(held.pat, secret_version=version) if is_recorded else held.pat
    moved = None if is_foreign else _begin_overlap_anew(held, version)
    held.end_attempt(answered, pat, SecretRestored(secret_version=version), moved)
    return True


def begin_overlap_anew(held: ClaimedPat, version: str) -> None:
    """Let the overlap of a rotation begin anew: consumers read the value of that version from now on."""
    changes = _make_overlap_anew(held, version)
    if held.rotation.state is RotationState.RETIRING:
        held.step(RotationState.OVERLAPPING, **changes)
    else:
        held.learn(**changes)


def _begin_overlap_anew(held: ClaimedPat, version: str) -> Rotation | None:
    """Return the rotation at hand with an overlap that begins anew; None if there is none that has one."""
    if not held.has_open_rotation or held.rotation.state not in (RotationState.OVERLAPPING, RotationState.RETIRING):
        return None
    changes, now = _make_overlap_anew(held, version), held.services.clock.now()
    if held.rotation.state is RotationState.RETIRING:
        return held.rotation.advance(RotationState.OVERLAPPING, now, **changes)
    return held.rotation.note(now, **changes)


def _make_overlap_anew(held: ClaimedPat, version: str) -> RotationChanges:
    until = max(list_moments(held)) + held.rotation.overlap
    return {"secret_version": version, "overlap_until": until, "overlap_began": held.services.boot.read_boot()}


def undo_late_write(held: ClaimedPat, view: ServerView, latest: StoredSecret | None) -> bool:
    """Do what `restore_committed` does, where a late write may stand in the way of the rotation at hand.

    `latest` is what consumers were seen to read. CloneLostError when a write of ours is, and the clone is proven gone;
    VerificationError `late_write_kept` when what should be put back over a late one was not seen to authenticate.
    Neither is a sight of another writer.
    """
    writer = find_writer(held.run, held.pat, latest.version if latest is not None else None)
    if writer is Writer.LATE and restore_committed(held) is Restored.DONE:
        return True
    if writer in (Writer.LATE, Writer.OURS):
        return_if_clone_lost(held, view)
    if writer is not Writer.LATE:
        return False
    raise make_kept(held.pat)


def make_kept(pat: ManagedPat) -> VerificationError:
    """Make the error for when consumers read a late write, and what should be put back was not seen to sign in."""
    return VerificationError(
        f"a late write of ours is the newest version of secret {pat.secret_name} in {pat.vault}, and the "
        "value to put back over it was not seen to sign in; nothing was revoked",
        code="late_write_kept",
        kind=FailureKind.LATE_WRITE_KEPT,
        fix=f"rotator tries again later. If it lasts, `rotator rotate {pat.name}` makes a new PAT.",
    )


def _make_attempt(held: ClaimedPat, current: str) -> Rotation:
    """Make the journal's line of one write of the value of the PAT `current`, which has no answer yet."""
    pat, now = held.pat, held.services.clock.now()
    return Rotation(
        id=held.services.entropy.make_id(),
        name=pat.name,
        account=pat.account,
        organization=pat.organization,
        display_name=pat.display_name,
        scope=pat.scope,
        predecessor_id=current,
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
    """Return the late write of an earlier rotation that consumers read now, if any. Changes nothing.

    Reads may be old, and nothing tells when such a write takes effect: the vault is looked at twice, a moment apart.
    """
    return look_twice(run, lambda: _look_for_late(run, pat))


def _look_for_late(run: RunContext, pat: ManagedPat) -> StoredSecret | None:
    latest = fetch_newest(run.services.secrets, pat)
    is_late = latest is not None and find_writer(run, pat, latest.version) is Writer.LATE
    return latest if is_late else None


def _find_current(held: ClaimedPat) -> tuple[str, frozenset[str]]:
    """Return the PAT whose value consumers should read, and the versions that we know to hold it.

    Of a write without an answer that is the clone, where our write is there.
    """
    if held.has_open_rotation and held.rotation.state is RotationState.STORING:
        written = find_written(held)
        if written is not None:
            return held.rotation.new_authorization_id or "", frozenset({written})
    current = load_provenance(held.run, held.pat).current
    writers = held.load(lambda reading: reading.journal.load_writers(held.pat.place, [current]))
    return current, find_versions(writers, held.pat, current)


def _find_committed(held: ClaimedPat, late: SecretVersion, current: str, known: frozenset[str]) -> StoredSecret | None:
    secrets = held.services.secrets
    versions = [version for version in secrets.fetch_versions(held.location) if version.enabled]
    provenance = load_provenance(held.run, held.pat, versions)
    candidates = [version for version in versions if provenance.find_writer(version) is not Writer.LATE]
    named = [it for it in candidates if it.version in known or it.tags.get(AUTHORIZATION_TAG) == current]
    if not named:
        return _fetch_live(held, candidates[0]) if candidates else None
    if _is_foreign(held, candidates[0], known) and _is_newer(held, candidates[0], late):
        theirs = _fetch_live(held, candidates[0])
        if theirs is not None:
            return theirs
    looked_at = [*named[:_MOST_COMMITTED], *(it for it in named[_MOST_COMMITTED:] if it.version in known)]
    return next(
        (
            found
            for version in looked_at
            if (found := _fetch_live(held, version)) is not None
            and not (known and differs(secrets, held.location, found, known))
        ),
        None,
    )


def _is_newer(held: ClaimedPat, version: SecretVersion, late: SecretVersion) -> bool:
    """Whether somebody wrote a version after the rotation began whose late write covers it: nobody meant that to go."""
    ids = {find_attempt_id(late.tags), late.tags.get(ROTATION_TAG)}
    writers = held.load(lambda reading: reading.journal.load_writers(held.pat.place, list_named([late])))
    began = [writer.created_at for writer in writers if writer.id in ids]
    return version.created_at is not None and bool(began) and version.created_at > max(began)


def _is_foreign(held: ClaimedPat, version: SecretVersion, known: frozenset[str]) -> bool:
    """Whether somebody else wrote that version, and nobody has confirmed that it may be replaced."""
    is_foreign = find_writer(held.run, held.pat, version) is Writer.FOREIGN
    return is_foreign and version.version not in {*known, held.pat.confirmed_version}


def _fetch_live(held: ClaimedPat, version: SecretVersion) -> StoredSecret | None:
    found = held.services.secrets.fetch_version(held.location, version.version)
    if found is None:
        return None
    try:
        identify(held.run, held.pat.organization, found.value)
    except VerificationError:
        return None
    return found
