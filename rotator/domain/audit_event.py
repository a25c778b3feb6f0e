"""One line of the audit log, and how each is chained to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from rotator.domain.managed_pat import check_aware

GENESIS_HASH = "0" * 64

Detail = str | int | bool | None
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
    """An entry in the chain: numbered from 1 without gaps, hashed over its content and the previous hash."""

    sequence: int
    occurred_at: datetime
    entry: AuditEntry
    previous_hash: str
    hash: str


def make_hash(sequence: int, occurred_at: datetime, entry: AuditEntry, previous_hash: str) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of everything the event says."""
    document = {
        "sequence": sequence,
        "occurred_at": check_aware(occurred_at).astimezone(UTC).isoformat(timespec="microseconds"),
        "event": entry.event,
        "subject": entry.subject,
        "outcome": entry.outcome.value,
        "actor": entry.actor,
        "run_id": entry.run_id,
        "details": dict(entry.details),
        "previous_hash": previous_hash,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_event(entry: AuditEntry, *, previous: AuditEvent | None, occurred_at: datetime) -> AuditEvent:
    """Return the event that follows `previous`, or the first of a chain."""
    sequence = previous.sequence + 1 if previous else 1
    previous_hash = previous.hash if previous else GENESIS_HASH
    digest = make_hash(sequence, occurred_at, entry, previous_hash)
    return AuditEvent(sequence, occurred_at, entry, previous_hash, digest)
