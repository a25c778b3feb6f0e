"""`rotator scan`: the server's PATs against the inventory."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    Moment,
    PlaceFailureDocument,
    make_place_failure,
    write_moment,
    write_moment_or_none,
)
from rotator.engine.comparing import ScanEntry, ScanKind
from rotator.engine.scanning import ScanReport

FULL_ACCESS = "app_token"


class ScannedPatDocument(TypedDict):
    """One PAT of the server, or one of the inventory that the server lacks."""

    state: Annotated[ScanKind, "How it compares with the inventory."]
    name: Annotated[str | None, "Name of the PAT in rotator. Null: it is not managed."]
    account: Annotated[str, "Account whose PAT it is, as the settings name it."]
    organization: Annotated[str, "Azure DevOps organization."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps."]
    display_name: Annotated[str | None, "Name of the PAT at Azure DevOps. Null: not known."]
    scopes: Annotated[list[str], "Scopes of the PAT, sorted."]
    valid_from: Annotated[Moment | None, "When the PAT was created. Null: not known."]
    expires_at: Annotated[
        Moment | None, "When the PAT stops working; for all organizations, 2026-12-01 at the latest. Null: not known."
    ]
    all_organizations: Annotated[
        bool, "Whether it is valid for all organizations: such PATs stop working on 2026-12-01."
    ]
    full_access: Annotated[bool, "Whether it may do everything that its user may."]


class ScanSummary(TypedDict):
    """How many PATs there are, and how many need attention."""

    pats: Annotated[int, "PATs that the server lists."]
    full_access: Annotated[int, "Those that may do everything that their user may."]
    all_organizations: Annotated[int, "Those that are valid for all organizations."]
    expire_within_7_days: Annotated[int, "Those that expire within seven days."]
    managed: Annotated[int, "In the inventory, and as it says."]
    untracked: Annotated[int, "Not in the inventory."]
    missing: Annotated[int, "In the inventory, and not on the server."]
    drifted: Annotated[int, "In the inventory, and changed outside rotator."]
    rotating: Annotated[int, "Part of a rotation that is not finished."]
    minting: Annotated[int, "Perhaps made by a mint that is not answered yet."]
    late: Annotated[int, "Lost mints of ours that took effect late; the next run revokes them."]
    left_behind: Annotated[int, "Left alive by a closed rotation."]
    pending_revocation: Annotated[int, "To be revoked, and alive; each run asks again."]


class ScanDocument(Document):
    """The server's PATs against the inventory."""

    generated_at: Annotated[Moment, "When the server was asked."]
    summary: Annotated[ScanSummary, "How many PATs there are, and how many need attention."]
    pats: Annotated[list[ScannedPatDocument], "One for each PAT."]
    errors: Annotated[list[PlaceFailureDocument], "Accounts and organizations that could not be checked."]


def make_scan_document(report: ScanReport, now: datetime) -> ScanDocument:
    """Give every PAT; what is missing on the server has the times that the inventory remembers."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(now),
        "summary": count_scan(report, now),
        "pats": [_make_pat(entry) for entry in report.entries],
        "errors": [make_place_failure(*error) for error in report.errors],
    }


def count_scan(report: ScanReport, now: datetime) -> ScanSummary:
    """Count the PATs that the server lists, those that need attention, and how they compare with the inventory."""
    listed = [entry.pat for entry in report.entries if entry.pat is not None]
    kinds = Counter(entry.kind for entry in report.entries)
    return {
        "pats": len(listed),
        "full_access": sum(FULL_ACCESS in pat.scopes for pat in listed),
        "all_organizations": sum(pat.all_organizations for pat in listed),
        "expire_within_7_days": sum(now < pat.valid_to < now + timedelta(days=7) for pat in listed),
        "managed": kinds[ScanKind.MANAGED],
        "untracked": kinds[ScanKind.UNTRACKED],
        "missing": kinds[ScanKind.MISSING],
        "drifted": kinds[ScanKind.DRIFTED],
        "rotating": kinds[ScanKind.ROTATING],
        "minting": kinds[ScanKind.MINTING],
        "late": kinds[ScanKind.LATE],
        "left_behind": kinds[ScanKind.LEFT_BEHIND],
        "pending_revocation": kinds[ScanKind.PENDING_REVOCATION],
    }


def _make_pat(entry: ScanEntry) -> ScannedPatDocument:
    pat, known = entry.pat, entry.pat or entry.record
    return {
        "state": entry.kind,
        "name": entry.name,
        "account": entry.account,
        "organization": entry.organization,
        "authorization_id": entry.authorization_id,
        "display_name": known.display_name if known else None,
        "scopes": list(known.scopes) if known else [],
        "valid_from": write_moment_or_none(known.valid_from) if known else None,
        "expires_at": write_moment_or_none(known.valid_to) if known else None,
        "all_organizations": pat is not None and pat.all_organizations,
        "full_access": known is not None and FULL_ACCESS in known.scopes,
    }
