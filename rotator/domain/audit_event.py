"""One line of the audit log, and how each is chained to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from rotator.domain.canonical import Scalar, encode_canonical
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
    document: dict[str, Detail | dict[str, Detail]] = {
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
    if encoding == 1:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    elif encoding == NEWEST_ENCODING:
        text = encode_canonical({**document, "encoding": encoding})
    else:
        raise ValueError(f"there is no encoding {encoding}")
    return hashlib.sha256(text).hexdigest()


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
