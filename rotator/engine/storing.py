"""The value is written to the vault, tagged; and what is done when the answer was lost (`storing`, `stored`)."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.events.event import Event
from rotator.domain.events.rotations import (
    SecretStored,
    SecretTagsDropped,
    SecretWriteIgnored,
    StoreStarted,
)
from rotator.domain.rotation import (
    RotationState,
)
from rotator.domain.secret_value import SecretValue
from rotator.engine.abandoning import LOST_VALUE, abandon
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.copies import find_written, is_copied
from rotator.engine.freezing import freeze
from rotator.engine.listing import ServerView
from rotator.engine.moments import read_moments
from rotator.engine.overlapping import confirm_stored
from rotator.engine.provenance import make_foreign
from rotator.engine.reading import fetch_newest, is_shown, look_twice, make_ignored
from rotator.engine.restoring import undo_late_write
from rotator.engine.settling import is_settled
from rotator.engine.tags import list_dropped, make_tags
from rotator.engine.waiting import Patience
from rotator.errors import (
    DeniedError,
    FailureKind,
    RejectedError,
    RotationError,
    TransientError,
    UnknownOutcomeError,
)
from rotator.ports.secret_store import WrittenVersion


def store_value(held: ClaimedPat, value: SecretValue, replaced: Mapping[str, str]) -> None:
    """Write the value, trying at most until the patience ends; then the rotation stays `storing`, for recovery.

    `replaced` are the tags of the version that is written over: those of others are carried over, as far as they fit.
    An unanswered write is looked for by its tag before another is sent: two versions of one value are harmless,
    a value that nobody knows of is not. An answer counts once the vault shows the version; a write without effect is
    no sight of another writer, and is repeated like one without an answer. When it was sent is noted by the latest
    clock at hand: the host's may have been set back since the run began.
    """
    run, rotation = held.run, held.rotation
    dropped = list_dropped(replaced)
    head, sent_at = held.load(lambda reading: (reading.audit.load_head(), max(read_moments(run, reading))))
    held.step(
        RotationState.STORING,
        StoreStarted(vault=rotation.vault, secret_name=rotation.secret_name),
        *([SecretTagsDropped(tags=", ".join(dropped))] if dropped else []),
        sent_at=sent_at,
        tried_store=True,
    )
    tags = make_tags(held.rotation, head, replaced)
    patience = Patience(run.services.boot, run.services.stop, run.services.timing.store_patience)
    may_write_again = False
    while True:
        failure: TransientError | UnknownOutcomeError
        ignored: list[Event] = []
        try:
            version = _store_once(held, value, tags)
        except (DeniedError, RejectedError) as error:
            error.kind = error.kind if may_write_again else FailureKind.WRITE_REFUSED
            abandon(held, error)
            raise
        except (TransientError, UnknownOutcomeError) as error:
            failure = error
        else:
            if is_shown(run, held.location, version):
                break
            failure = make_ignored(held.location, version.answer_ids)
            ignored = [SecretWriteIgnored(secret_version=version)]
        if not patience.wait(failure.retry_after if isinstance(failure, TransientError) else None):
            raise failure
        held.learn(*ignored, sent_at=max(list_moments(held)))
        may_write_again = True
    journal_stored(held, version, may_write_again=may_write_again)


def recover_store(held: ClaimedPat, view: ServerView) -> None:
    """Look for the write whose answer was lost: it is there, or it may still take effect, or the clone is given up.

    When somebody has written another value with our tags, the rotation is frozen: nobody can tell what became of ours.
    """
    has_settled = is_settled(held)
    version = look_twice(held.run, lambda: find_written(held)) if has_settled else find_written(held)
    if version is not None:
        journal_stored(held, version, may_write_again=True)
        confirm_stored(held, view, None)
    elif is_copied(held):
        latest = fetch_newest(held.services.secrets, held.pat)
        undo_late_write(held, view, latest)
        raise freeze(held, make_foreign(held, latest))
    elif has_settled:
        abandon(held, LOST_VALUE)


def _store_once(held: ClaimedPat, value: SecretValue, tags: dict[str, str]) -> WrittenVersion:
    """Write once. If the answer is lost, return the version that carries our tag; raise again when there is none."""
    expires_at = held.rotation.new_valid_to
    if expires_at is None:
        raise RotationError("a clone without an expiry", code="internal")
    try:
        version = held.services.secrets.store(
            held.location, value, expires_at=expires_at, tags=tags, permit=held.check_claim
        )
    except UnknownOutcomeError as error:
        found = find_written(held)
        if found is None:
            raise
        held.note_answer(error.answer_ids)
        return WrittenVersion(found, error.answer_ids)
    held.note_answer(version.answer_ids)
    return version


def journal_stored(held: ClaimedPat, version: str, *, may_write_again: bool) -> None:
    """Note that the vault has our version, and whether another write of it may still take effect."""
    held.step(
        RotationState.STORED,
        SecretStored(secret_version=version),
        secret_version=version,
        tried_store=may_write_again,
    )
