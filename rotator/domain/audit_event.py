"""One line of the audit log, and how each is chained to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from rotator.domain.canonical import Scalar, encode_fields, quote
from rotator.domain.managed_pat import check_aware

GENESIS_HASH = "0" * 64

NEWEST_ENCODING = 2
"""How an event is spelled to be hashed. 1: JSON in ASCII, as at first. 2: as by `canonical`, with this number in it."""

Detail = Scalar
"""What a field of an event may hold in the audit log."""


class Outcome(StrEnum):
    """How it ended: `intended` is written before a mutation, the others after."""

    INTENDED = "intended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class AuditEntry:
    """What happened, before it has a place in the chain. `details` holds text, numbers and booleans, no secrets."""

    event: str
    subject: str
    outcome: Outcome
    actor: str
    run_id: str
    details: Mapping[str, Detail]


@dataclass(frozen=True)
class AuditEvent:
    """An entry in the chain: numbered from 1 without gaps, hashed over its content and the previous hash.

    `encoding` is how it was spelled for that: an old event keeps its own, and so verifies for ever.
    """

    sequence: int
    occurred_at: datetime
    entry: AuditEntry
    previous_hash: str
    hash: str
    encoding: int = NEWEST_ENCODING


def make_hash(
    sequence: int, occurred_at: datetime, entry: AuditEntry, previous_hash: str, encoding: int = NEWEST_ENCODING
) -> str:
    """Return the SHA-256 (hex) of everything the event says. ValueError for what cannot be spelled that way."""
    return hashlib.sha256(_spell(sequence, occurred_at, entry, previous_hash, encoding)).hexdigest()


def spell_event(event: AuditEvent) -> bytes:
    """Return the text whose SHA-256 is the event's hash. ValueError for what cannot be spelled."""
    return _spell(event.sequence, event.occurred_at, event.entry, event.previous_hash, event.encoding)


def _spell(sequence: int, occurred_at: datetime, entry: AuditEntry, previous_hash: str, encoding: int) -> bytes:
    if occurred_at.tzinfo is not UTC:
        occurred_at = check_aware(occurred_at).astimezone(UTC)
    moment = occurred_at.isoformat("T", "microseconds")
    if encoding == NEWEST_ENCODING:
        return _spell_newest(sequence, moment, entry, previous_hash)
    if encoding != 1:
        raise ValueError(f"there is no encoding {encoding}")
    document = {
        "sequence": sequence,
        "occurred_at": moment,
        "event": entry.event,
        "subject": entry.subject,
        "outcome": entry.outcome.value,
        "actor": entry.actor,
        "run_id": entry.run_id,
        "details": dict(entry.details),
        "previous_hash": previous_hash,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _spell_newest(sequence: int, moment: str, entry: AuditEntry, previous_hash: str) -> bytes:
    """Return what `encode_canonical` makes of the event, in less time: each event of a log is spelled to check it."""
    details = encode_fields(entry.details)
    return (
        f'{{"actor":{quote(entry.actor)},"details":{details},"encoding":{NEWEST_ENCODING},"event":{quote(entry.event)},'
        f'"occurred_at":"{moment}","outcome":{quote(entry.outcome)},"previous_hash":{quote(previous_hash)},'
        f'"run_id":{quote(entry.run_id)},"sequence":{sequence:d},"subject":{quote(entry.subject)}}}'
    ).encode()


def make_event(entry: AuditEntry, *, previous: AuditEvent | None, occurred_at: datetime) -> AuditEvent:
    """Return the event that follows `previous`, or the first of a chain."""
    sequence = previous.sequence + 1 if previous else 1
    previous_hash = previous.hash if previous else GENESIS_HASH
    entry = _make_encodable(entry)
    digest = make_hash(sequence, occurred_at, entry, previous_hash)
    return AuditEvent(sequence, occurred_at, entry, previous_hash, digest)


def _make_encodable(entry: AuditEntry) -> AuditEntry:
    """Return the entry with `?` for each half of a surrogate pair: an option that is no UTF-8 must not stop a run."""
    details = {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in entry.details.items()
    }
    return replace(entry, details=details)
