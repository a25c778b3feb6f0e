"""Requests to revoke a PAT that may still take effect: until then no record may begin to name that PAT.

A request without an answer takes effect within `rotation.settle`, and a process that froze before it sent one may send
it while it has its claim. A host that dated one may have been slow, as far as clocks may differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.administration import AdminRevocationFailed, AdminRevocationStarted
from rotator.domain.events.revocations import RevocationFailed, RevokeStarted
from rotator.domain.events.rotations import RotationFailed, RotationFrozen
from rotator.domain.rotation import Rotation, RotationChanges, RotationEnding, RotationState
from rotator.engine.accounting import get_ids
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.engine.moments import find_earliest
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading

_STARTED = RevokeStarted.type.name
_CLOSED = frozenset({RotationFrozen.type.name, RotationFailed.type.name})
_MOST_STARTED = 10_000
"""Within the longer of the two spans."""
_ADMIN_SPAN = timedelta(hours=1) + MOST_SKEW
"""So long an administrator's request may take."""


def find_requested(run: RunContext, reading: Reading, authorization_ids: Iterable[str]) -> dict[str, str]:
    """Return those of the PATs that are being revoked or may be, each with the ManagedPat that it was revoked for.

    "" where an administrator asked for it. By the earliest clock at hand; what that has not reached yet was dated by
    the database's clock.
    """
    ids, now, span = set(authorization_ids), find_earliest(run, reading), get_span(run)
    found: dict[str, str] = {}
    for event in tuple(reading.audit.load_after(None, _MOST_STARTED, AuditFilter(event=_STARTED, since=now - span))):
        doomed = str(event.entry.details["authorization_id"])
        if doomed in ids and event.occurred_at > now - span and _may_be_sent(reading, event):
            found[doomed] = event.entry.subject
    for rotation in reading.journal.load_naming(ids):
        for doomed in _list_doomed(reading, rotation, now - span):
            found[doomed] = rotation.name
    for pending in reading.revocations.load_by_ids(ids):
        at = pending.requested_at
        if (reading.now() if at > now + MOST_SKEW else now) - at < span:
            found[pending.authorization_id] = pending.name
    found.update(dict.fromkeys(_list_by_admin(reading, now - _ADMIN_SPAN), ""))
    return {doomed: name for doomed, name in found.items() if doomed in ids}


def _list_by_admin(reading: Reading, since: datetime) -> list[str]:
    """Return the PATs that an administrator asked to have revoked since then, unless that was refused."""
    started = AuditFilter(event=AdminRevocationStarted.type.name, since=since)
    found = tuple(reading.audit.load_after(None, _MOST_STARTED, started))
    return [event.entry.subject for event in found if event.occurred_at > since and not _was_refused(reading, event)]


def _was_refused(reading: Reading, event: AuditEvent) -> bool:
    wanted = AuditFilter(event=AdminRevocationFailed.type.name, subject=event.entry.subject, run_id=event.entry.run_id)
    return any(failed.entry.details.get("refused") for failed in reading.audit.load_after(event.sequence, 1, wanted))


def may_still_be_revoked(held: ClaimedPat) -> bool:
    """Whether a request to revoke the old PAT of the rotation at hand may still take effect, by the audit log."""
    old, span = held.rotation.predecessor_id, get_span(held.run)

    if not old:
        return False

    def look(reading: Reading) -> bool:
        wanted = (
            AuditFilter(event=event.type.name, authorization_id=old) for event in (RevokeStarted, RevocationFailed)
        )
        newest = [event for each in wanted for event in reading.audit.load_newest(1, each)]
        now = find_earliest(held.run, reading)
        return any(now - event.occurred_at < span and _may_be_sent(reading, event) for event in newest)

    return held.load(look)


def find_ending(held: ClaimedPat) -> RotationChanges:
    """Return how the rotation at hand ends if it fails now: its clone is revoked if a request of before may be sent.

    What this run has announced, and not sent when it closes the rotation, counts for nothing.
    """
    run_id, clone = held.run.run_id, held.rotation.new_authorization_id
    if held.rotation.state is not RotationState.ABANDONING or clone is None:
        return {}
    is_revoked = held.load(lambda reading: _was_requested(reading, clone, before=run_id))
    return {"ending": RotationEnding.CLONE_REVOKED} if is_revoked else {}


def get_span(run: RunContext) -> timedelta:
    """Return how long after a request was begun it may still take effect."""
    return max(run.services.timing.lease, run.services.timing.settle) + MOST_SKEW


def _list_doomed(reading: Reading, rotation: Rotation, since: datetime) -> list[str]:
    """Return the PATs that a rotation revokes, or was about to revoke when it was frozen: its last request was then."""
    if rotation.state is RotationState.RETIRING:
        return [rotation.predecessor_id]
    clone = rotation.new_authorization_id
    if rotation.state is RotationState.ABANDONING:
        return [clone] if clone else []
    if rotation.state is not RotationState.FAILED or rotation.updated_at <= since:
        return []
    return [found for found in get_ids(rotation) if _was_requested(reading, found)]


def _was_requested(reading: Reading, authorization_id: str, before: str | None = None) -> bool:
    """Whether a PAT was requested to be revoked; `before`: by another run than that, or by it and in vain."""
    wanted = AuditFilter(event=_STARTED, authorization_id=authorization_id)
    return any(
        _may_be_sent(reading, event) and (event.entry.run_id != before or _was_sent(reading, event))
        for event in reading.audit.load_newest(2, wanted)
    )


def _was_sent(reading: Reading, event: AuditEvent) -> bool:
    failed = AuditFilter(event=RevocationFailed.type.name, run_id=event.entry.run_id, subject=event.entry.subject)
    return bool(tuple(reading.audit.load_after(event.sequence, 1, failed)))


def _may_be_sent(reading: Reading, event: AuditEvent) -> bool:
    """Whether what an event announces was sent, as far as the log tells: not if the run closed the rotation instead."""
    mine = AuditFilter(subject=event.entry.subject, run_id=event.entry.run_id)
    following = tuple(reading.audit.load_after(event.sequence, 1, mine))
    return not any(found.entry.event in _CLOSED for found in following)
