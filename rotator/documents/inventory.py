"""`rotator inventory`: records and their rotations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, TypedDict

from rotator.documents.audit import AuditEventDocument, make_event_document
from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_document,
    make_failure_or_none,
    write_moment,
    write_moment_or_none,
)
from rotator.documents.pat import PatFacts, make_reference
from rotator.documents.revocation import PendingRevocationDocument, make_pending_document
from rotator.domain.managed_pat import ManagedPat, ManagedPatState
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.overview import RecordView
from rotator.engine.pausing import Pause
from rotator.errors import RotatorError

Change = Literal["paused", "resumed", "renamed", "forgotten"]
"""What a command did to a record."""


AllChange = Literal["all_paused", "all_resumed"]
"""What a command did to everything."""


class RecordDocument(PatFacts):
    """One record of the inventory."""

    record_id: Annotated[
        str | None,
        "Id of the record, which stands for its name with `metrics_names: false`. Null: it is not stored yet.",
    ]
    vault: Annotated[str, "Address of the Key Vault that its value goes to."]
    secret_name: Annotated[str, "Name of the secret in that vault."]
    secret_version: Annotated[str | None, "Version that holds the current value. Null: rotator has written none."]
    confirmed_version: Annotated[
        str | None, "Version of others that a person confirmed may be replaced. Null: there is none."
    ]
    state: Annotated[ManagedPatState, "Whether the PAT is rotated or paused."]
    blocked: Annotated[bool, "Whether a person must act before another try makes sense."]
    failures: Annotated[int, "How many tries in a row have failed."]
    retry_at: Annotated[Moment | None, "When it is tried again after a failure. Null: no such time is set."]
    last_error: Annotated[FailureDocument | None, "What went wrong last. Null: nothing that still matters."]


class RotationDocument(TypedDict):
    """One rotation of a PAT."""

    rotation_id: Annotated[str, "Id of the rotation."]
    state: Annotated[RotationState, "How far it got."]
    rule: Annotated[str, "Rule of the policy that it follows."]
    predecessor_id: Annotated[str | None, "Id of the old PAT. Null: it made the first one."]
    authorization_id: Annotated[str | None, "Id of the new PAT. Null: none is known to exist."]
    created_at: Annotated[Moment, "When it began."]
    updated_at: Annotated[Moment, "When it changed last."]
    revoke_after: Annotated[Moment | None, "When the overlap ends. Null: it has not begun."]
    awaited_hooks: Annotated[list[str], "Hooks that must succeed before the overlap begins."]
    error: Annotated[FailureDocument | None, "Why it failed or was given up. Null: it was not."]


class InventoryDocument(Document):
    """The PATs under management."""

    pats: Annotated[list[RecordDocument], "One for each managed PAT."]


class InventoryEntryDocument(Document):
    """Everything that is known of one PAT."""

    pat: Annotated[RecordDocument, "Its record."]
    rotations: Annotated[list[RotationDocument], "Its rotations, the newest first."]
    pending_revocations: Annotated[list[PendingRevocationDocument], "Its revocations that are not confirmed yet."]
    events: Annotated[list[AuditEventDocument], "The newest ten of its name in the audit log, the oldest first."]
    events_error: Annotated[FailureDocument | None, "Why its events cannot be read. Null: they can."]


class InventoryChangeDocument(Document):
    """What a command did to records."""

    dry_run: Annotated[bool, "Whether this is only what would be done."]
    change: Annotated[Change, "What was done."]
    pats: Annotated[list[RecordDocument], "The records as they are now, or were when they were forgotten."]
    errors: Annotated[list[FailureDocument], "Why others could not be changed."]
    old_name: Annotated[str | None, "Its name before it was renamed. Null: it was not."]


class PauseDocument(Document):
    """A pause of everything, or its end."""

    change: Annotated[AllChange, "What was asked for."]
    changed: Annotated[bool, "Whether it was otherwise before."]
    paused_since: Annotated[Moment | None, "Since when everything is paused. Null: it is not."]
    pats: Annotated[list[RecordDocument], "What will expire while everything is paused, the next one first."]


def make_pause_document(change: AllChange, done: Pause) -> PauseDocument:
    """Say whether everything is paused, and what will expire."""
    return {
        "schema_version": SCHEMA_VERSION,
        "change": change,
        "changed": done.is_news,
        "paused_since": write_moment_or_none(done.since),
        "pats": [make_record_document(pat) for pat in done.expiring],
    }


def make_record_document(pat: ManagedPat) -> RecordDocument:
    """Give one inventory record."""
    return {
        **make_reference(pat),
        "display_name": pat.display_name,
        "scopes": list(pat.scopes),
        "valid_from": write_moment(pat.valid_from),
        "expires_at": write_moment(pat.as_ending().valid_to),
        "record_id": pat.record_id,
        "vault": pat.vault,
        "secret_name": pat.secret_name,
        "secret_version": pat.secret_version,
        "confirmed_version": pat.confirmed_version,
        "state": pat.state,
        "blocked": pat.blocked,
        "failures": pat.failures,
        "retry_at": write_moment_or_none(pat.retry_at),
        "last_error": make_failure_or_none(pat.last_failure),
    }


def make_rotation_document(rotation: Rotation) -> RotationDocument:
    """Give one rotation of a ManagedPat."""
    return {
        "rotation_id": rotation.id,
        "state": rotation.state,
        "rule": rotation.rule,
        "predecessor_id": rotation.predecessor_id or None,
        "authorization_id": rotation.new_authorization_id,
        "created_at": write_moment(rotation.created_at),
        "updated_at": write_moment(rotation.updated_at),
        "revoke_after": None if rotation.awaited_hooks else write_moment_or_none(rotation.overlap_until),
        "awaited_hooks": list(rotation.awaited_hooks),
        "error": make_failure_or_none(rotation.failure),
    }


def make_inventory_document(pats: Iterable[ManagedPat]) -> InventoryDocument:
    """Give all records."""
    return {"schema_version": SCHEMA_VERSION, "pats": [make_record_document(pat) for pat in pats]}


def make_inventory_entry_document(seen: RecordView, now: datetime) -> InventoryEntryDocument:
    """Give one record, its rotations, its pending revocations and its newest events."""
    return {
        "schema_version": SCHEMA_VERSION,
        "pat": make_record_document(seen.pat),
        "rotations": [make_rotation_document(rotation) for rotation in seen.rotations],
        "pending_revocations": [make_pending_document(item, now) for item in seen.pending],
        "events": [make_event_document(event) for event in seen.events],
        "events_error": make_failure_or_none(seen.unread),
    }


def make_inventory_change_document(
    change: Change,
    pats: Iterable[ManagedPat],
    errors: Iterable[RotatorError],
    old_name: str | None = None,
    *,
    dry_run: bool = False,
) -> InventoryChangeDocument:
    """Say what was done to which records."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "change": change,
        "pats": [make_record_document(pat) for pat in pats],
        "errors": [make_failure_document(error) for error in errors],
        "old_name": old_name,
    }
