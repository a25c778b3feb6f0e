"""`rotator inventory adopt`: PATs taken under management."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypedDict

from rotator.documents.document import SCHEMA_VERSION, Document, FailureDocument, make_failure_document
from rotator.documents.inventory import RecordDocument, make_record_document
from rotator.domain.refusal import Refusal
from rotator.domain.sight import Holding
from rotator.engine.adopting import AdoptionPlan
from rotator.engine.confirming import Managed
from rotator.engine.explaining_refusals import BY_NOTHING, Asked, explain_refusal
from rotator.engine.proposing import Proposal


class AdoptedDocument(RecordDocument):
    """A PAT that was adopted."""

    rule: Annotated[str, "Rule of the policy that covers it."]
    secret_holds: Annotated[Holding | None, "What its secret held. Null: not looked at, the rule never writes it."]
    dropped_tags: Annotated[list[str], "Tags of that secret for which the first rotation has no room."]


class ManagedDocument(RecordDocument):
    """A PAT that was managed already."""

    secret_holds: Annotated[Holding, "What its secret held."]
    confirmed: Annotated[bool, "Whether this version of its secret was confirmed now, or would be."]


class RefusalDocument(TypedDict):
    """A PAT that cannot be adopted."""

    reference: Annotated[str, "The PAT as it was asked for, or its id."]
    display_name: Annotated[str | None, "Name of the PAT at Azure DevOps. Null: no PAT is known by the reference."]
    account: Annotated[str | None, "Account whose PAT it is, as the settings name it. Null: not known."]
    organization: Annotated[str | None, "Azure DevOps organization. Null: not known."]
    reason: Annotated[str, "Why not, in words."]
    fix: Annotated[str, "Who must do what. Empty when there is nothing to do."]
    line: Annotated[int | None, "Line of the file given with `--from`. Null: there was no file."]


class AdoptionDocument(Document):
    """What was taken under management, or with `--dry-run` what would be."""

    run_id: Annotated[str, "Id of the run, as the audit log has it."]
    dry_run: Annotated[bool, "Whether nothing was written."]
    adopted: Annotated[list[AdoptedDocument], "Records as they were written, or would be."]
    managed: Annotated[list[ManagedDocument], "PATs that were asked for and were managed already."]
    refused: Annotated[list[RefusalDocument], "PATs that cannot be adopted."]
    errors: Annotated[list[FailureDocument], "Why an account or organization could not be checked."]


def make_adoption_document(
    plan: AdoptionPlan, run_id: str, *, dry_run: bool, asked: Asked = BY_NOTHING
) -> AdoptionDocument:
    """Say what was adopted, or would be, and what cannot be, for what was `asked`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "dry_run": dry_run,
        "adopted": [_make_adopted(item) for item in plan.proposals],
        "managed": [_make_managed(item) for item in plan.managed],
        "refused": [_make_refusal(item, plan, asked) for item in plan.refusals],
        "errors": [make_failure_document(error) for error in plan.errors],
    }


def _make_refusal(refusal: Refusal, plan: AdoptionPlan, asked: Asked) -> RefusalDocument:
    told = explain_refusal(refusal, asked)
    listing, pat = plan.listed.get(refusal.reference, (None, None))
    return {
        "reference": refusal.reference,
        "display_name": None if pat is None else pat.display_name,
        "account": None if listing is None else listing.account,
        "organization": None if listing is None else listing.organization,
        "reason": told.message,
        "fix": told.fix,
        "line": asked.lines.get(refusal.reference),
    }


def _make_adopted(item: Proposal) -> AdoptedDocument:
    sight = item.sight
    return {
        **make_record_document(item.effective),
        "rule": item.rule.name,
        "secret_holds": sight.holding if sight is not None else None,
        "dropped_tags": list(sight.dropped_tags) if sight is not None else [],
    }


def _make_managed(item: Managed) -> ManagedDocument:
    confirms = item.confirms
    record = item.record if confirms is None else replace(item.record, confirmed_version=confirms)
    return {
        **make_record_document(record),
        "secret_holds": item.sight.holding,
        "confirmed": confirms is not None,
    }
