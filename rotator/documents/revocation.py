"""`rotator revoke NAME`, and `rotator recover --revoke ID`."""

from __future__ import annotations

from typing import Annotated, Literal

from rotator.documents.document import SCHEMA_VERSION, Document
from rotator.engine.left_behind import LeftBehindKind

Which = Literal["current", "previous"] | LeftBehindKind
"""Which PAT of a record was revoked."""


class RevocationDocument(Document):
    """A PAT that was revoked by hand."""

    name: Annotated[str, "Name of the PAT in rotator."]
    which: Annotated[Which, "The one in use, the old one of an overlap, or why it had been left behind."]
    authorization_id: Annotated[str, "Id of the revoked PAT at Azure DevOps."]
    run_id: Annotated[str, "Id of the run, as the audit log has it."]


def make_revocation_document(name: str, which: Which, authorization_id: str, run_id: str) -> RevocationDocument:
    """Say what was revoked."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "which": which,
        "authorization_id": authorization_id,
        "run_id": run_id,
    }
