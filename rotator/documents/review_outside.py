"""What others did, in the document of `rotator audit report`: Azure DevOps' own log, and all users' PATs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from rotator.documents.audit import AuditEventDocument, make_event_document
from rotator.documents.document import Moment, write_moment
from rotator.documents.review_parts import ProofDocument
from rotator.domain.audit_event import AuditEvent
from rotator.domain.period import Period
from rotator.engine.review.outside import ComparedLog, Outside, find_organization, measure_covered, read_span

_LONGEST_NUMBER = 19
_SECOND = timedelta(seconds=1)


class ReadFailureDocument(TypedDict):
    """Why Azure DevOps' own log could not be read."""

    event: Annotated[int, "Number of the event that says so."]
    at: Annotated[Moment, "When it could not be read."]
    code: Annotated[str, "Stable name of the problem. `docs/errors.md` lists them."]
    message: Annotated[str, "What failed and why."]


class ComparedLogDocument(TypedDict):
    """Azure DevOps' own log of one organization, and what of it was compared with rotator's."""

    organization: Annotated[str, "Azure DevOps organization."]
    compared: Annotated[ProofDocument | None, "The newest comparison. Null: there is none."]
    until: Annotated[Moment | None, "Up to when that one looked. Null: there is none."]
    explained: Annotated[int | None, "Entries about what rotator did, in the newest comparison."]
    foreign: Annotated[int | None, "Entries about what somebody else did, in the newest comparison."]
    lacking: Annotated[int | None, "What rotator did and that log does not tell, in the newest comparison."]
    unreadable: Annotated[int | None, "Entries that could not be read, in the newest comparison."]
    covered_seconds: Annotated[int, "How much of the period was compared, by all comparisons; up to now if it lasts."]
    uncovered_seconds: Annotated[int, "How much of it was not."]
    failed: Annotated[ReadFailureDocument | None, "Why it could not be read since. Null: nothing says so."]


class UserScanDocument(TypedDict):
    """The newest look at the PATs of all users of an organization."""

    organization: Annotated[str, "Azure DevOps organization."]
    made: Annotated[ProofDocument, "The event of the look."]
    users: Annotated[int, "Users of the organization."]
    denied: Annotated[int, "Those whose PATs the account may not list."]
    skipped: Annotated[int, "Those whose PATs nobody looked at, or whose look failed."]
    pats: Annotated[int, "PATs that were valid then."]
    full_access: Annotated[int, "Those that may do everything that their user may."]
    long_lived: Annotated[int, "Those that are long-lived."]
    all_organizations: Annotated[int, "Those that are valid for all organizations."]
    ownerless: Annotated[int, "Those whose user is gone from the directory."]
    managed: Annotated[int, "Those that belong to a managed PAT."]
    unreadable: Annotated[int, "Entries, of users or PATs, that could not be read."]


class OutsideDocument(TypedDict):
    """What others did, as far as somebody looked."""

    logs: Annotated[list[ComparedLogDocument], "Azure DevOps' own log, for each organization."]
    foreign: Annotated[list[AuditEventDocument], "What somebody else did, as found in the period, the newest."]
    foreign_found: Annotated[int, "How many such events there were."]
    lacking: Annotated[list[AuditEventDocument], "What that log lacks, as found in the period, the newest."]
    lacking_found: Annotated[int, "How many such events there were."]
    scans: Annotated[list[UserScanDocument], "The newest look at all users' PATs, for each organization that had one."]


def make_outside_document(
    outside: Outside, organizations: Iterable[str], period: Period, now: datetime
) -> OutsideDocument:
    """Say what others did; `organizations` are those of the settings, of which the log may say nothing."""
    names = sorted({*organizations, *outside.logs})
    ends = max(period.since, min(period.until, now))
    return {
        "logs": [_make_log(name, outside.logs.get(name, ComparedLog()), period.since, ends) for name in names],
        "foreign": [make_event_document(event) for event in outside.foreign],
        "foreign_found": outside.foreign.total,
        "lacking": [make_event_document(event) for event in outside.lacking],
        "lacking_found": outside.lacking.total,
        "scans": list(_make_scans(outside)),
    }


def _make_log(organization: str, log: ComparedLog, begins: datetime, ends: datetime) -> ComparedLogDocument:
    covered = measure_covered(log, begins, ends)
    compared = log.compared
    span = None if compared is None else read_span(compared)
    return {
        "organization": organization,
        "compared": None if compared is None else _make_proof(compared),
        "until": None if span is None else write_moment(span[1]),
        "explained": _count(compared, "explained"),
        "foreign": _count(compared, "foreign"),
        "lacking": _count(compared, "lacking"),
        "unreadable": _count(compared, "unreadable"),
        "covered_seconds": covered // _SECOND,
        "uncovered_seconds": (ends - begins - covered) // _SECOND,
        "failed": None if log.failed is None else _make_failure(log.failed),
    }


def _make_failure(event: AuditEvent) -> ReadFailureDocument:
    details = event.entry.details
    return {
        "event": event.sequence,
        "at": write_moment(event.occurred_at),
        "code": str(details.get("code", "")),
        "message": str(details.get("message", "")),
    }


def _make_scans(outside: Outside) -> Iterator[UserScanDocument]:
    for _, event in sorted(outside.scans.items()):
        yield {
            "organization": find_organization(event),
            "made": _make_proof(event),
            "users": _count(event, "users") or 0,
            "denied": _count(event, "denied") or 0,
            "skipped": _count(event, "skipped") or 0,
            "pats": _count(event, "pats") or 0,
            "full_access": _count(event, "full_access") or 0,
            "long_lived": _count(event, "long_lived") or 0,
            "all_organizations": _count(event, "all_organizations") or 0,
            "ownerless": _count(event, "ownerless") or 0,
            "managed": _count(event, "managed") or 0,
            "unreadable": _count(event, "unreadable") or 0,
        }


def _make_proof(event: AuditEvent) -> ProofDocument:
    return {"event": event.sequence, "at": write_moment(event.occurred_at), "placed": None, "guessed": False}


def _count(event: AuditEvent | None, name: str) -> int | None:
    """Return a number of an event; None where there is no event, and for what somebody altered."""
    number = "" if event is None else str(event.entry.details.get(name, 0))
    return int(number) if number.isdecimal() and len(number) <= _LONGEST_NUMBER else None
