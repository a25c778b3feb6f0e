"""Gaps of the audit log that a person accepted: what a database restored from a backup is known to lack."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.anchor import make_gap_statement
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import GapAccepted
from rotator.engine.anchoring import fetch_anchors, find_missing
from rotator.engine.archives import load_archives
from rotator.engine.auditing import load_events, record
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.signing_keys import follow_keys
from rotator.ports.database import Database

_MOST = 1000


def accept_gap(run: RunContext) -> list[str]:
    """Record what the log lacks of its anchors, signed if there is a key, and seal that. Return it; nothing is fine."""
    sight = fetch_anchors(run)
    accepted = load_accepted(run.services.database, run.services.trust)
    archives = load_archives(run.services.database, run.services.trust)
    sight = replace(sight, anchors=tuple(anchor for anchor in sight.anchors if not archives.covers(anchor.sequence)))
    events = load_events(run.services.database, after=archives.last or None)
    missing = [key for key in find_missing(events, sight) if key not in accepted]
    if not missing:
        return missing
    with run.services.database.read() as reading:
        newest = reading.checkpoints.load_newest()
    event = GapAccepted(missing=" ".join(missing), installation=newest.installation if newest else "")
    if (signer := run.services.signer) is not None:
        statement = make_gap_statement(event.installation, missing)
        event = replace(event, key=make_key_id(signer.public_key), signature=signer.sign(statement))
    with run.services.database.begin() as work:
        record(work, run, AUDIT_LOG, event, run.services.clock.now())
    seal(run, timedelta(0))
    return missing


def load_accepted(database: Database, trust: Trust | None) -> frozenset[str]:
    """Return what the log is known to lack, as anchors name it. With a key, what is not signed does not count."""
    trust = trust and follow_keys(database, trust)
    with database.read() as reading:
        events = reading.audit.load_named({GapAccepted.type.name}, 0, _MOST)
    return frozenset(key for event in events if _is_valid(event, trust) for key in _list_missing(event))


def _list_missing(event: AuditEvent) -> list[str]:
    return str(event.entry.details.get("missing", "")).split()


def _is_valid(event: AuditEvent, trust: Trust | None) -> bool:
    if trust is None or not trust.public_keys:
        return True
    details = event.entry.details
    statement = make_gap_statement(str(details.get("installation", "")), _list_missing(event))
    key = trust.find_key(details.get("key"), event.sequence)
    return key is not None and trust.is_signed(statement, str(details.get("signature", "")), key)
