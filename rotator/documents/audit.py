"""`rotator audit`: events, and whether the chain holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    ExactMoment,
    FailureDocument,
    make_failure_document,
    write_exact_moment,
)
from rotator.domain.audit_event import AuditEvent, Detail, Outcome
from rotator.domain.events.catalogue import EVENTS
from rotator.engine.anchoring import AnchorSight
from rotator.engine.archiving import Archived, ArchivePlan
from rotator.engine.log_checking import LateSeal, LogSummary
from rotator.errors import AuditChainError


class AuditEventDocument(TypedDict):
    """One event of the audit log: also a line of `rotator audit export`."""

    sequence: Annotated[int, "Number of the event, from 1 without gaps."]
    occurred_at: Annotated[ExactMoment, "When it happened, as precisely as its hash has it."]
    event: Annotated[str, "Name of the event."]
    subject: Annotated[str, "What the event is about: the name of a PAT or an account, for example."]
    outcome: Annotated[Outcome, "Whether it was intended, succeeded, failed, or nobody knows."]
    actor: Annotated[str, "Who did it: user and host."]
    run_id: Annotated[str, "Id of the run that it belongs to."]
    details: Annotated[
        dict[str, str | int | bool | None],
        "What else the event says, by name. In what the hash is made of, its times end in `+00:00`.",
    ]
    previous_hash: Annotated[str, "Hash of the event before, in hex."]
    hash: Annotated[str, "Hash of this event, in hex."]
    encoding: Annotated[int, "How the event is spelled to be hashed: see the documentation of the audit log."]


class AuditEventsDocument(Document):
    """Events of the audit log."""

    events: Annotated[list[AuditEventDocument], "The newest that were asked for, the oldest of them first."]


class AuditEntryDocument(Document):
    """One event of the audit log."""

    event: Annotated[AuditEventDocument, "The event."]


class UnreadAnchorsDocument(FailureDocument):
    """Why the hashes beside one secret, or the anchors in one vault, could not be read."""

    name: Annotated[str, "Name of the PAT in rotator, or address of the vault."]


class KnownArchiveDocument(TypedDict):
    """An archive of older events, as the log names it."""

    first: Annotated[int, "Number of the first event in it."]
    last: Annotated[int, "Number of the last event in it."]
    sha256: Annotated[str, "SHA-256, in hex, of the lines of the file but the last, which has it too."]
    checked: Annotated[bool, "Whether the file was at hand, and its events were checked."]


class KeyChangeDocument(TypedDict):
    """A change of the key that signs the log, as the log tells it."""

    sequence: Annotated[int, "Number of the event that tells it. The old key is believed before it only."]
    old_key: Annotated[str, "Id of the old key: the first 16 hex digits of the SHA-256 of its public half."]
    new_key: Annotated[str, "Id of the new key."]
    signed_by_old_key: Annotated[bool, "Whether the old key signed it too; false if that key was lost."]


class LateSealDocument(TypedDict):
    """A checkpoint that was made more than 25 hours after the first event that no earlier signed one covers."""

    size: Annotated[int, "How many events it covers."]
    first: Annotated[int, "Number of that event."]
    seconds: Annotated[int, "How much later it was made."]


class AuditIntactDocument(Document):
    """The audit log is intact."""

    valid: Annotated[Literal[True], "The chain holds."]
    events: Annotated[int, "How many events there are."]
    since: Annotated[int, "How many of them were verified in the last days, and not checked again; 0 with --all."]
    head: Annotated[str, "Hash of the newest event, in hex."]
    checkpoints: Annotated[int, "How many checkpoints there are. Each covers all events before it."]
    signed: Annotated[int, "How many events the newest signed checkpoint covers; 0 if none is signed."]
    key_changes: Annotated[list[KeyChangeDocument], "The changes of the key, in order."]
    forged: Annotated[list[int], "Events that somebody else wrote as if rotator had, as a person has accepted."]
    ahead: Annotated[ExactMoment | None, "The latest time of a checkpoint, if it has not come yet."]
    late_seal: Annotated[
        LateSealDocument | None, "The signed checkpoint that came the latest, of those checked. Null: none was late."
    ]
    stamps_ahead: Annotated[int, "How many time stamps name a time that has not come yet."]
    anchors: Annotated[int, "How many heads and checkpoints the vaults name; the log has all but those of `accepted`."]
    accepted: Annotated[int, "How many anchors the log lacks, as a person has accepted."]
    others: Annotated[list[str], "Other installations whose anchors these vaults hold."]
    unread: Annotated[list[UnreadAnchorsDocument], "Secrets and vaults that could not be asked for anchors."]
    archives: Annotated[list[KnownArchiveDocument], "The archives that the log names, in order."]


class AcceptedGapDocument(Document):
    """A known gap of the audit log."""

    accepted: Annotated[
        list[str],
        "Number and hash of an event, or version of an anchor, that is missing; `forged:` or `unsigned:` and an event.",
    ]


class ArchiveLimitDocument(TypedDict):
    """What keeps the next events in the log."""

    last: Annotated[int, "Number of the last event that could go; whole checkpoints go, so it may be fewer."]
    reason: Annotated[str, "Why, in words; empty while an earlier archive is not finished."]


class AuditArchiveDocument(Document):
    """What was moved into an archive, or would be."""

    dry_run: Annotated[bool, "Whether nothing was changed, because only a look was asked for."]
    first: Annotated[int | None, "Number of the first event that is moved; null if none is."]
    last: Annotated[int | None, "Number of the last event that is moved; null if none is."]
    file: Annotated[str | None, "The file that has them; null if there is none."]
    deleted: Annotated[int, "How many events were deleted from the database now."]
    resumed: Annotated[bool, "Whether this finishes an earlier archive, whose events were not all deleted."]
    limit: Annotated[ArchiveLimitDocument, "What keeps the next events."]


class AuditFaultDocument(FailureDocument):
    """The first event that was altered, removed or moved, or the first checkpoint or anchor that does not hold."""

    sequence: Annotated[int, "Number of the event; of a checkpoint or an anchor, that of its last event."]
    checkpoint: Annotated[int | None, "Size of the checkpoint that shows it, if it is one."]
    anchor: Annotated[str | None, "Place of the anchor that shows it, if it is one."]
    archive: Annotated[str | None, "Name of the archive's file that shows it, if it is one."]
    expected: Annotated[str, "What should be there."]
    found: Annotated[str, "What is there."]


class AuditBrokenDocument(Document):
    """The audit log was changed."""

    valid: Annotated[Literal[False], "The chain does not hold."]
    error: Annotated[AuditFaultDocument, "The first event that is not as it was written."]


_TIMES = frozenset(
    (event.type.name, field)
    for event in EVENTS
    for field in event.fields
    if "datetime" in str(event.__annotations__[field])
)
"""The details that are times, each with the name of its event."""

AuditVerificationDocument = AuditIntactDocument | AuditBrokenDocument


def make_event_document(event: AuditEvent) -> AuditEventDocument:
    """Give one event; its time keeps the microseconds that its hash was made with."""
    entry = event.entry
    return {
        "sequence": event.sequence,
        "occurred_at": write_exact_moment(event.occurred_at),
        "event": entry.event,
        "subject": entry.subject,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "run_id": entry.run_id,
        "details": {key: _write_detail(entry.event, key, value) for key, value in entry.details.items()},
        "previous_hash": event.previous_hash,
        "hash": event.hash,
        "encoding": event.encoding,
    }


def _write_detail(event: str, key: str, value: Detail) -> Detail:
    """A time with `Z`, like every time of a document; the hash is made of the form that the audit log has."""
    if (event, key) not in _TIMES or not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError):  # somebody altered it
        return value


def make_events_document(events: Iterable[AuditEvent]) -> AuditEventsDocument:
    """Give several events."""
    return {"schema_version": SCHEMA_VERSION, "events": [make_event_document(event) for event in events]}


def make_entry_document(event: AuditEvent) -> AuditEntryDocument:
    """Give one event as a document of its own."""
    return {"schema_version": SCHEMA_VERSION, "event": make_event_document(event)}


def make_gap_document(missing: Iterable[str]) -> AcceptedGapDocument:
    """Say what was accepted to be missing."""
    return {"schema_version": SCHEMA_VERSION, "accepted": list(missing)}


def make_archive_document(
    plan: ArchivePlan, done: Archived | None, file: str, *, dry_run: bool
) -> AuditArchiveDocument:
    """Say what was moved, or would be."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "first": plan.first,
        "last": plan.last,
        "file": None if plan.last is None else file,
        "deleted": 0 if done is None else done.deleted,
        "resumed": plan.unfinished is not None,
        "limit": {"last": plan.limit.last, "reason": plan.limit.why},
    }


def make_intact_document(summary: LogSummary, sight: AnchorSight, accepted: int) -> AuditIntactDocument:
    """Say that the chain holds, and beside which secrets its heads could not be read."""
    return {
        "schema_version": SCHEMA_VERSION,
        "valid": True,
        "events": summary.events,
        "since": summary.since,
        "head": summary.head,
        "checkpoints": summary.checkpoints,
        "signed": summary.signed,
        "key_changes": [
            {
                "sequence": number,
                "old_key": change.old_id,
                "new_key": change.new_id,
                "signed_by_old_key": change.signature is not None,
            }
            for number, change in sorted(summary.changes.items())
        ],
        "forged": list(summary.forged),
        "ahead": None if summary.ahead is None else write_exact_moment(summary.ahead.made_at),
        "late_seal": make_late_seal(summary.late),
        "stamps_ahead": sum(anchor.is_ahead for anchor in sight.anchors),
        "anchors": len(sight.anchors),
        "accepted": accepted,
        "others": list(sight.others),
        "unread": [{"name": name, **make_failure_document(error)} for name, error in sight.unread.items()],
        "archives": [
            {
                "first": found.first,
                "last": found.last,
                "sha256": found.body_hash,
                "checked": found not in summary.archives.missing,
            }
            for found in summary.archives.named
        ],
    }


def make_late_seal(late: LateSeal | None) -> LateSealDocument | None:
    """Say by how much a checkpoint came late."""
    if late is None:
        return None
    return {"size": late.checkpoint.size, "first": late.first.sequence, "seconds": int(late.lag.total_seconds())}


def make_broken_document(error: AuditChainError) -> AuditBrokenDocument:
    """Say where the chain breaks."""
    return {
        "schema_version": SCHEMA_VERSION,
        "valid": False,
        "error": make_fault_document(error),
    }


def make_fault_document(error: AuditChainError) -> AuditFaultDocument:
    """Say what is wrong with the log, and where."""
    return {
        **make_failure_document(error),
        "sequence": error.sequence,
        "checkpoint": error.checkpoint,
        "anchor": error.anchor,
        "archive": error.archive,
        "expected": error.expected,
        "found": error.found,
    }
