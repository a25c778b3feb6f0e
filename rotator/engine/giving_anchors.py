"""Each vault is given the newest checkpoint of the audit log, so that a log that was cut off or put back shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import partial

from rotator.domain.anchor import PREFIX, make_anchor_tags, make_anchor_value, read_anchor, read_anchor_value
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.events.anchors import AnchoringFailed, LogAnchored
from rotator.domain.secret_value import SecretValue
from rotator.engine.anchoring import Anchor, find_fault, list_places
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.gaps import load_accepted
from rotator.engine.isolating import naming_bugs
from rotator.engine.signing_keys import follow_keys
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError, DatabaseError, RotatorError
from rotator.ports.anchor_place import AnchorPlace
from rotator.ports.audit_log import AuditFilter
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation


def give_anchors(run: RunContext) -> None:
    """Give the newest checkpoint to every vault that the policy names, and to the other places of the settings.

    Where it is already, nothing is done. A vault is given one new version a day, and later checkpoints as the tags of
    that. What fails is told, and made up for by a later run. AuditChainError when a place has a checkpoint of more
    events than the log has.
    """
    with run.services.database.read() as reading:
        newest = reading.checkpoints.load_newest()
    if newest is None:
        return
    for vault in list_places(run, newest.installation) if run.services.anchors_in_vaults else ():
        _try(run, vault.vault, partial(_give, run, vault, newest))
    for place in run.services.anchor_places:
        _try(run, place.name, partial(_give_elsewhere, run, place, newest))


def _try(run: RunContext, name: str, act: Callable[[], None]) -> None:
    try:
        with naming_bugs("the other places were given theirs"):
            act()
    except (DatabaseError, AuditChainError):
        raise
    except RotatorError as error:
        run.progress(AnchoringFailed(code=error.code, message=error.message), name)


def _give(run: RunContext, place: SecretLocation, newest: Checkpoint) -> None:
    versions = run.services.secrets.fetch_versions(place)
    last = read_anchor(versions[0].tags) if versions else None
    if last is not None and last.size > newest.size:
        _check_gap(run, f"{place.vault} {place.name}", last, newest)
        last = None
    if last is not None and last.size == newest.size:
        return
    made_at = versions[0].created_at if versions else None
    is_of_today = made_at is not None and made_at.astimezone(UTC).date() == run.services.clock.now().date()
    tags = make_anchor_tags(newest)
    if last is not None and is_of_today and versions[0].enabled:
        run.services.secrets.prove_writable(place, tags, permit=unclaimed)
        return
    value = SecretValue(make_anchor_value(newest))
    version = run.services.secrets.store(place, value, expires_at=None, tags=tags, permit=unclaimed)
    _record(run, place.vault, LogAnchored(secret_name=place.name, secret_version=version, size=newest.size))


def _give_elsewhere(run: RunContext, place: AnchorPlace, newest: Checkpoint) -> None:
    """Give a file or a webhook the newest checkpoint; the log says so once a day, lest it grow by that alone."""
    text = place.find_last()
    last = None if text is None else read_anchor_value(text)
    if last is not None and last.size > newest.size:
        _check_gap(run, place.name, last, newest)
    if last is not None and last.size == newest.size:
        return
    place.give(make_anchor_value(newest), f"{newest.installation}-{newest.size}")
    with run.services.database.read() as reading:
        told = reading.audit.load_newest(1, AuditFilter(event=LogAnchored.type.name, subject=place.name))
    if not told or told[0].occurred_at.astimezone(UTC).date() != run.services.clock.now().date():
        _record(run, place.name, LogAnchored(size=newest.size))


def _record(run: RunContext, subject: str, given: LogAnchored) -> None:
    def write() -> None:
        with run.services.database.begin() as work:
            record(work, run, subject, given, run.services.clock.now())

    keep_books(run.services, write)


def _check_gap(run: RunContext, place: str, last: Checkpoint, newest: Checkpoint) -> None:
    """Raise AuditChainError unless a person accepted that the log lacks what this anchor names."""
    database, trust = run.services.database, run.services.trust
    if Anchor(place, last.size, last.head).key in load_accepted(database, trust):
        return
    fault = find_fault(trust and follow_keys(database, trust), last)
    raise AuditChainError(
        f"{place} has an anchor of {last.size} audit events, and the log was sealed at {newest.size}: "
        + (f"the anchor {fault}" if fault else "the database was put back to an earlier state"),
        sequence=last.size,
        expected=last.head,
        found=f"{newest.size} events",
        fix=_FIX_FORGED if fault else _FIX_GAP,
        anchor=place,
    )


_FIX_GAP = (
    "If it was restored from a backup, run `rotator audit accept-gap --reason TEXT`. If not, keep it as it is "
    "for the investigation."
)
_FIX_FORGED = (
    "If another host changed the signing key, name the new one in the settings of this host too. If not, somebody else "
    f"wrote this anchor: find out who can write there, remove it (the tags `{PREFIX}*` of the newest version, or "
    "the last line of the file), and run `rotator audit accept-gap --reason TEXT`."
)
