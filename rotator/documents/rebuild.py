"""`rotator inventory rebuild`: the inventory rebuilt from vaults and server."""

from __future__ import annotations

from typing import Annotated, TypedDict

from rotator.documents.document import SCHEMA_VERSION, Document, FailureDocument, make_failure_document
from rotator.documents.pat import PatReference, make_reference
from rotator.domain.refusal import Refusal
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.looking import Rebuild
from rotator.engine.rebuilt import Found
from rotator.engine.tags import AUTHORIZATION_TAG


class RebuiltDocument(PatReference):
    """A record that was rewritten."""

    before: Annotated[str | None, "Id that the inventory had for it. Null: it had no such record."]
    overlapping: Annotated[bool, "Whether its old PAT still lives and gets a new overlap."]
    gone: Annotated[list[str | None], "Ids of PATs that are gone, although newer versions of its secret name them."]


class NotRebuiltDocument(TypedDict):
    """A secret that no record can be made from."""

    name: Annotated[str, "Name of the PAT, or the secret, that is meant."]
    reason: Annotated[str, "Why not, in words."]
    fix: Annotated[str, "Who must do what. Empty when there is nothing to do."]


class RebuildDocument(Document):
    """What was rebuilt, or with `--dry-run` what would be."""

    dry_run: Annotated[bool, "Whether nothing was written."]
    rebuilt: Annotated[list[RebuiltDocument], "Records that were written, or would be."]
    unchanged: Annotated[int, "How many records already match the vaults and the server."]
    refused: Annotated[list[NotRebuiltDocument], "Secrets that no record can be made from."]
    errors: Annotated[list[FailureDocument], "Why a vault, account or organization could not be checked."]


def make_rebuild_document(plan: Rebuild, *, dry_run: bool) -> RebuildDocument:
    """Say what was rebuilt, or would be, and what cannot be."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "rebuilt": [_make_rebuilt(item) for item in plan.news],
        "unchanged": len(plan.found) - len(plan.news),
        "refused": [_make_refusal(item) for item in plan.refusals],
        "errors": [make_failure_document(error) for error in plan.errors],
    }


def _make_rebuilt(item: Found) -> RebuiltDocument:
    return {
        **make_reference(item.record),
        "before": item.before.authorization_id if item.before else None,
        "overlapping": item.predecessor is not None,
        "gone": [version.tags.get(AUTHORIZATION_TAG) for version in item.gone],
    }


def _make_refusal(refusal: Refusal) -> NotRebuiltDocument:
    told = explain_refusal(refusal)
    return {"name": refusal.reference, "reason": told.message, "fix": told.fix}
