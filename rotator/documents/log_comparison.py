"""`rotator audit reconcile`: Azure DevOps' own audit log against ours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_or_none,
    write_moment,
    write_moment_or_none,
)
from rotator.domain.policy import LeakAction
from rotator.domain.probe import ProbeResult
from rotator.domain.service_log import LAG, EntryKind
from rotator.engine.log_findings import Finding, Lacking, OrganizationLog


class FindingDocument(TypedDict):
    """What Azure DevOps' log tells of a PAT of an account, and rotator did not do."""

    account: Annotated[str, "Account, as the settings name it."]
    kind: Annotated[EntryKind, "What was done to the PAT."]
    display_name: Annotated[str, "Name of the PAT in Azure DevOps. Empty: the entry does not say."]
    at: Annotated[Moment, "When, by the entry."]
    by: Annotated[str, "Who did it, by the entry. Empty: the entry does not say."]
    entry_id: Annotated[str, "Id of the entry in Azure DevOps' log."]
    names: Annotated[list[str], "The managed PATs of that display name."]
    value: Annotated[ProbeResult | None, "What a try of the value that consumers read showed. Null: nothing to try."]
    on_leak: Annotated[LeakAction | None, "What the rule of the managed PATs says. Null: it is of none."]
    told_before: Annotated[bool, "Whether an earlier comparison recorded it."]


class LackingDocument(TypedDict):
    """A mint or revocation by rotator that Azure DevOps' log lacks."""

    account: Annotated[str, "Account, as the settings name it."]
    kind: Annotated[EntryKind, "What rotator did."]
    sequence: Annotated[int, "Number of the event in rotator's audit log that began it."]
    name: Annotated[str, "Name of the managed PAT."]
    authorization_id: Annotated[str | None, "Id of the PAT."]
    at: Annotated[Moment, "When it was done."]
    told_before: Annotated[bool, "Whether an earlier comparison recorded it."]


class OrganizationLogDocument(TypedDict):
    """What came of one organization, and what the comparison covers."""

    account: Annotated[str, "Account that read the log, or tried to first."]
    organization: Annotated[str, "Azure DevOps organization."]
    since: Annotated[Moment, "Beginning of the period that was compared."]
    until: Annotated[Moment, "End of the period that was compared."]
    lost_since: Annotated[Moment | None, "From then to `since` Azure DevOps keeps nothing any more. Null: none asked."]
    settled_until: Annotated[Moment, "What rotator did later may still appear in Azure DevOps' log."]
    read: Annotated[int, "Entries that were read, about whatever."]
    pat_entries: Annotated[int, "Entries about PATs, each counted once."]
    unreadable: Annotated[int, "Entries that could not be read. While there are any, nothing counts as lacking."]
    explained: Annotated[int, "Entries about what rotator did."]
    expired: Annotated[int, "Entries about PATs that expired by themselves."]
    others: Annotated[int, "Entries about PATs of users that are no account."]
    undecided: Annotated[int, "Entries of which it cannot be told whose PATs they are about, as `error` says."]
    unsettled: Annotated[int, "Changes by rotator without an entry, of which nothing can be said yet."]
    findings: Annotated[list[FindingDocument], "What rotator did not do."]
    lacking: Annotated[list[LackingDocument], "What Azure DevOps' log lacks."]
    error: Annotated[FailureDocument | None, "Why the log was not compared, or not as a whole. Null: it was."]


class LogComparisonDocument(Document):
    """Azure DevOps' own audit log against rotator's."""

    generated_at: Annotated[Moment, "When this was made."]
    dry_run: Annotated[bool, "Whether nothing was recorded."]
    organizations: Annotated[list[OrganizationLogDocument], "Each organization of the accounts."]


def make_log_comparison_document(
    found: Iterable[OrganizationLog], now: datetime, *, dry_run: bool
) -> LogComparisonDocument:
    """Say what came of all organizations."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(now),
        "dry_run": dry_run,
        "organizations": [_make_organization(item, now) for item in found],
    }


def _make_organization(item: OrganizationLog, now: datetime) -> OrganizationLogDocument:
    return {
        "account": item.account,
        "organization": item.organization,
        "since": write_moment(item.since),
        "until": write_moment(item.until),
        "lost_since": write_moment_or_none(item.lost_since),
        "settled_until": write_moment(min(item.until, now - LAG)),
        "read": item.read.read,
        "pat_entries": len(item.read.entries),
        "unreadable": item.read.unreadable,
        "explained": item.explained,
        "expired": item.expired,
        "others": item.others,
        "undecided": item.undecided,
        "unsettled": item.unsettled,
        "findings": [_make_finding(finding) for finding in item.findings],
        "lacking": [_make_lacking(lacking) for lacking in item.lacking],
        "error": make_failure_or_none(item.error),
    }


def _make_finding(finding: Finding) -> FindingDocument:
    entry = finding.entry
    return {
        "account": finding.account,
        "kind": entry.kind,
        "display_name": entry.display_name,
        "at": write_moment(entry.at),
        "by": entry.actor,
        "entry_id": entry.id,
        "names": list(finding.names),
        "value": finding.value,
        "on_leak": finding.on_leak,
        "told_before": not finding.is_news,
    }


def _make_lacking(lacking: Lacking) -> LackingDocument:
    action = lacking.action
    return {
        "account": action.account,
        "kind": action.kind,
        "sequence": action.number,
        "name": action.name,
        "authorization_id": action.authorization_id,
        "at": write_moment(action.ended_at),
        "told_before": not lacking.is_news,
    }
