"""`rotator revoke NAME...`, and `rotator recover --revoke ID`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Literal, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_document,
    write_moment,
)
from rotator.documents.pat import PatReference
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.left_behind import LeftBehindKind
from rotator.errors import RotatorError

Which = Literal["current", "previous"] | LeftBehindKind
"""Which PAT of a record was revoked."""


class PendingRevocationDocument(PatReference):
    """A PAT that was to be revoked, and is not proven to be gone."""

    rotation_id: Annotated[str | None, "Id of the rotation that had it revoked. Null: a person did, by hand."]
    since: Annotated[Moment, "When its revocation was first requested."]
    requested_at: Annotated[Moment, "When it was last requested."]
    requests: Annotated[int, "How often it was requested."]
    overdue: Annotated[bool, "Whether that is so long ago that a person should look."]


class RevokedDocument(TypedDict):
    """A PAT whose revocation was requested."""

    name: Annotated[str, "Name of the PAT in rotator."]
    which: Annotated[Which, "The PAT in use, the old PAT of an overlap, or why it had been left behind."]
    authorization_id: Annotated[str, "Id of that PAT at Azure DevOps."]
    confirmed: Annotated[bool, "Whether the server shows that it is gone. If not, each run looks for it."]


class NotRevokedDocument(TypedDict):
    """A PAT that could not be revoked."""

    name: Annotated[str, "Name of the PAT in rotator."]
    error: Annotated[FailureDocument, "What went wrong."]


class RevocationDocument(Document):
    """PATs whose revocation a person requested."""

    dry_run: Annotated[bool, "Whether this is only what would be revoked."]
    run_id: Annotated[str, "Id of the run, as the audit log has it."]
    revoked: Annotated[list[RevokedDocument], "Revocations that were requested, or would be in a dry run."]
    failed: Annotated[list[NotRevokedDocument], "Could not be revoked. If that is the only one, there is an `error`."]


def make_pending_document(pending: PendingRevocation, now: datetime) -> PendingRevocationDocument:
    """Say which revocation is not confirmed, and since when."""
    return {
        "name": pending.name,
        "account": pending.account,
        "organization": pending.organization,
        "authorization_id": pending.authorization_id,
        "rotation_id": pending.rotation_id,
        "since": write_moment(pending.since),
        "requested_at": write_moment(pending.requested_at),
        "requests": pending.requests,
        "overdue": pending.is_overdue(now),
    }


def make_revoked_document(name: str, which: Which, authorization_id: str, *, confirmed: bool) -> RevokedDocument:
    """Say what was revoked."""
    return {"name": name, "which": which, "authorization_id": authorization_id, "confirmed": confirmed}


def make_revocation_document(
    run_id: str,
    revoked: Iterable[RevokedDocument],
    failed: Mapping[str, RotatorError] | None = None,
    *,
    dry_run: bool = False,
) -> RevocationDocument:
    """Say what was revoked, and by name what could not be."""
    errors = (failed or {}).items()
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "run_id": run_id,
        "revoked": list(revoked),
        "failed": [{"name": name, "error": make_failure_document(error)} for name, error in errors],
    }
