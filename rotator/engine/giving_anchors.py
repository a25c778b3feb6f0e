"""Each vault is given the newest checkpoint of the audit log, so that a log that was cut off or put back shows."""

from __future__ import annotations

from datetime import UTC

from rotator.domain.anchor import make_anchor_tags, make_anchor_value, read_anchor
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.events.anchors import AnchoringFailed, LogAnchored
from rotator.domain.secret_value import SecretValue
from rotator.engine.anchoring import Anchor, list_places
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.gaps import load_accepted
from rotator.engine.isolating import naming_bugs
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError, DatabaseError, RotatorError
from rotator.ports.secret_store import SecretLocation


def give_anchors(run: RunContext) -> None:
    """Give the newest checkpoint to every vault that the policy names; a vault that lacks none is only looked at.

    A vault is given one new version a day, and later checkpoints as the tags of that. What fails is told, and made up
    for by a later run. AuditChainError when a vault has a checkpoint of more events than the log has.
    """
    with run.services.database.read() as reading:
        newest = reading.checkpoints.load_newest()
    if newest is None or not run.services.anchors_in_vaults:
        return
    for place in list_places(run, newest.installation):
        try:
            with naming_bugs("the other vaults were given theirs"):
                _give(run, place, newest)
        except (DatabaseError, AuditChainError):
            raise
        except RotatorError as error:
            run.progress(AnchoringFailed(code=error.code, message=error.message), place.vault)


def _give(run: RunContext, place: SecretLocation, newest: Checkpoint) -> None:
    versions = run.services.secrets.fetch_versions(place)
    last = read_anchor(versions[0].tags) if versions else None
    if last is not None and last.size > newest.size:
        _check_gap(run, place, last, newest)
        last = None
    if last is not None and last.size == newest.size:
        return
    made_at = versions[0].created_at if versions else None
    is_of_today = made_at is not None and made_at.astimezone(UTC).date() == run.services.clock.now().date()
    tags = make_anchor_tags(newest)
    if last is not None and is_of_today and versions[0].enabled:
        run.services.secrets.prove_writable(place, tags)
        return
    value = SecretValue(make_anchor_value(newest))
    version = run.services.secrets.store(place, value, expires_at=None, tags=tags)
    given = LogAnchored(secret_name=place.name, secret_version=version, size=newest.size)

    def write() -> None:
        with run.services.database.begin() as work:
            record(work, run, place.vault, given, run.services.clock.now())

    keep_books(run.services, write)


def _check_gap(run: RunContext, place: SecretLocation, last: Checkpoint, newest: Checkpoint) -> None:
    """Raise AuditChainError unless a person accepted that the log lacks what this anchor names."""
    if Anchor(place.name, last.size, last.head).key in load_accepted(run.services.database, run.services.trust):
        return
    raise AuditChainError(
        f"{place.vault} has an anchor of {last.size} audit events, and the log was sealed at {newest.size}: "
        "the database was put back to an earlier state",
        sequence=last.size,
        expected=last.head,
        found=f"{newest.size} events",
        fix="If it was restored from a backup, run `rotator audit accept-gap --reason TEXT`. If not, keep it as it is "
        "for the investigation.",
        anchor=f"{place.vault} {place.name}",
    )
