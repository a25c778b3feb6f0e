"""`rotator revoke NAME`, and `rotator recover --revoke ID`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from rotator.documents.document import SCHEMA_VERSION, Document, Moment, write_moment
from rotator.documents.pat import PatReference
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.left_behind import LeftBehindKind

Which = Literal["current", "previous"] | LeftBehindKind
"""Which PAT of a record was revoked."""


class PendingRevocationDocument(PatReference):
    """A PAT that was to be revoked, and is not proven to be gone."""

    rotation_id: Annotated[str | None, "Id of the rotation that had it revoked. Null: a person did, by hand."]
    since: Annotated[Moment, "When its revocation was first requested."]
    requested_at: Annotated[Moment, "When it was last requested."]
    requests: Annotated[int, "How often it was requested."]
    overdue: Annotated[bool, "Whether that is so long ago that a person should look."]


class RevocationDocument(Document):
    """A PAT whose revocation a person requested."""

    name: Annotated[str, "Name of the PAT in rotator."]
    which: Annotated[Which, "The one in use, the old one of an overlap, or why it had been left behind."]
    authorization_id: Annotated[str, "Id of that PAT at Azure DevOps."]
    confirmed: Annotated[bool, "Whether the server shows that it is gone. If not, each run looks for it."]
    run_id: Annotated[str, "Id of the run, as the audit log has it."]


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


def make_revocation_document(
    name: str, which: Which, authorization_id: str, run_id: str, *, confirmed: bool
) -> RevocationDocument:
    """Say what was revoked."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "which": which,
        "authorization_id": authorization_id,
        "confirmed": confirmed,
        "run_id": run_id,
    }
