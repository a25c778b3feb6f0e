"""From a proven clone to one that consumers read: store, read back, let old and new overlap."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.rotations import OverlapStarted, SecretStored, StoreStarted
from rotator.domain.managed_pat import Hold, ManagedPatState
from rotator.domain.rotation import RotationState
from rotator.domain.secret_value import SecretValue
from rotator.engine.abandoning import abandon
from rotator.engine.claiming import ClaimedPat
from rotator.engine.freezing import freeze
from rotator.engine.listing import ServerView
from rotator.engine.lost_clone import return_if_clone_lost
from rotator.engine.provenance import is_written_by, make_foreign
from rotator.engine.tags import AUTHORIZATION_TAG, make_tags
from rotator.engine.waiting import Patience
from rotator.errors import (
    DeniedError,
    RejectedError,
    RotationError,
    TransientError,
    UnknownOutcomeError,
    VerificationError,
)
from rotator.ports.secret_store import StoredSecret


def store_value(held: ClaimedPat, value: SecretValue) -> None:
    """Write the value, at most until the patience ends; then the rotation stays `storing` for recovery to decide.

    An unanswered write is looked for by its tag before another is sent: two versions of one value are harmless,
    a value that nobody knows of is not.
    """
    run, rotation = held.run, held.rotation
    with run.services.database.read() as reading:
        head = reading.audit.load_head()
    held.step(
        RotationState.STORING,
        StoreStarted(vault=rotation.vault, secret_name=rotation.secret_name),
        sent_at=run.services.clock.now(),
        tried_store=True,
    )
    tags = make_tags(held.rotation, head)
    patience = Patience(run.services.clock, run.services.stop, run.services.timing.store_patience)
    may_land_again = False
    while True:
        try:
            version = _store_once(held, value, tags)
            break
        except (DeniedError, RejectedError) as error:
            abandon(held, error)
            raise
        except (TransientError, UnknownOutcomeError) as error:
            wait = error.retry_after if isinstance(error, TransientError) else None
            if not patience.wait(wait):
                raise
            held.learn(sent_at=run.services.clock.now())
            may_land_again = True
    journal_stored(held, version, may_land_again=may_land_again)


def _store_once(held: ClaimedPat, value: SecretValue, tags: dict[str, str]) -> str:
    """One write; if its answer is lost, the version that carries our tag, or the error again when there is none."""
    expires_at = held.rotation.new_valid_to
    if expires_at is None:
        raise RotationError("a clone without an expiry", code="internal")
    held.check_claim()
    try:
        return held.services.secrets.store(held.location, value, expires_at=expires_at, tags=tags)
    except UnknownOutcomeError:
        found = find_version(held)
        if found is None:
            raise
        return found


def find_version(held: ClaimedPat) -> str | None:
    """The newest version of the secret that this rotation wrote."""
    versions = held.services.secrets.fetch_versions(held.location)
    return next((v.version for v in versions if is_written_by(v, held.rotation)), None)


def journal_stored(held: ClaimedPat, version: str, *, may_land_again: bool) -> None:
    """Note that the vault has our version, and whether another write of it could still land."""
    held.step(
        RotationState.STORED,
        SecretStored(secret_version=version),
        secret_version=version,
        tried_store=may_land_again,
    )


def is_ours(held: ClaimedPat, latest: StoredSecret | None) -> bool:
    """Whether what consumers read now was written by this rotation."""
    return (
        latest is not None
        and is_written_by(latest.version, held.rotation)
        and latest.version.tags.get(AUTHORIZATION_TAG) == held.rotation.new_authorization_id
    )


def confirm_stored(held: ClaimedPat, view: ServerView, value: SecretValue | None) -> None:
    """Read back what consumers will read and start the overlap; from here on the clone is the current PAT.

    `value` is None after a restart: then the value in the vault, proven by its tags, is the only one there is.
    CloneLostError when somebody revoked the clone meanwhile.
    """
    run, rotation = held.run, held.rotation
    latest = run.services.secrets.fetch_latest(held.location)
    if latest is None or not is_ours(held, latest) or (value is not None and not value.same_as(latest.value)):
        raise freeze(held, make_foreign(held, latest))
    if value is None:
        _verify_again(held, view, latest.value)
    if rotation.new_authorization_id is None or rotation.new_valid_to is None or rotation.new_valid_from is None:
        raise RotationError("a stored rotation without a clone", code="internal")
    was_revoked = held.pat.hold is Hold.REVOKED_BY_HAND
    pat = replace(
        held.pat.healed(),
        state=ManagedPatState.ACTIVE if was_revoked else held.pat.state,
        authorization_id=rotation.new_authorization_id,
        display_name=rotation.display_name,
        scope=rotation.scope,
        valid_from=rotation.new_valid_from,
        valid_to=rotation.new_valid_to,
        secret_version=latest.version.version,
    )
    until = run.services.clock.now() + rotation.overlap
    held.step(
        RotationState.OVERLAPPING,
        OverlapStarted(overlap_until=until),
        pat=pat,
        overlap_until=until,
        secret_version=latest.version.version,
    )


def _verify_again(held: ClaimedPat, view: ServerView, value: SecretValue) -> None:
    try:
        held.services.pats.verify(held.rotation.organization, value)
    except VerificationError:
        return_if_clone_lost(held, view)
        raise
