"""`rotator scan --organization-wide`, and `rotator admin revoke`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    PlaceFailureDocument,
    make_failure_or_none,
    make_place_failure,
    write_moment,
)
from rotator.domain.user_pats import UserLook
from rotator.engine.comparing import ScanKind
from rotator.engine.scanning_users import LookedUser, OrganizationScan, UserPat


class UserPatDocument(TypedDict):
    """One PAT of one user of an organization."""

    state: Annotated[ScanKind, "What accounts for it here: `untracked` if nothing does."]
    name: Annotated[str | None, "Name of the managed PAT that it belongs to. Null: it is not managed."]
    organization: Annotated[str, "Azure DevOps organization."]
    user: Annotated[str, "Whose PAT it is: the name that the user signs in with."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps."]
    display_name: Annotated[str, "Name of the PAT at Azure DevOps."]
    scopes: Annotated[list[str], "Scopes of the PAT, sorted."]
    valid_from: Annotated[Moment, "When the PAT was created."]
    expires_at: Annotated[Moment, "When the PAT stops working; for all organizations, 2026-12-01 at the latest."]
    full_access: Annotated[bool, "Whether it may do everything that its user may."]
    long_lived: Annotated[bool, "Whether it is valid for longer than `guardrails.max_lifetime`, by default 90 days."]
    all_organizations: Annotated[bool, "Whether it is valid for all organizations."]
    ownerless: Annotated[bool, "Whether the user is gone from the directory that they come from."]
    last_used_at: Annotated[None, "Always null: Azure DevOps does not tell when a PAT was last used."]


class LookedUserDocument(TypedDict):
    """What came of the look at one user's PATs."""

    organization: Annotated[str, "Azure DevOps organization."]
    user: Annotated[str, "The name that the user signs in with."]
    descriptor: Annotated[str, "What Azure DevOps calls the user."]
    look: Annotated[UserLook, "`ok`: all were listed. Otherwise nothing is known of this user's PATs."]
    service: Annotated[bool, "Whether it is an identity of a service, which has no PATs and was not asked about."]
    pats: Annotated[int | None, "How many PATs are listed, those that have expired too. Null: not known."]
    error: Annotated[FailureDocument | None, "Why nothing is known. Null: it is, or nobody asked."]


class OrganizationScanSummary(TypedDict):
    """How many users and PATs there are."""

    users: Annotated[int, "Users of the organizations."]
    ok: Annotated[int, "Users whose PATs were listed."]
    denied: Annotated[int, "Users whose PATs the account may not list."]
    skipped: Annotated[int, "Users whose PATs nobody looked at, or whose look failed."]
    pats: Annotated[int, "PATs that are valid now."]
    full_access: Annotated[int, "Those that may do everything that their user may."]
    long_lived: Annotated[int, "Those that are long-lived."]
    all_organizations: Annotated[int, "Those that are valid for all organizations."]
    ownerless: Annotated[int, "Those whose user is gone from the directory."]
    managed: Annotated[int, "Those that belong to a managed PAT."]
    unreadable: Annotated[int, "Entries, of users or PATs, that could not be read."]


class OrganizationScanDocument(Document):
    """The PATs of all users of the organizations, as far as their administrator may list them."""

    generated_at: Annotated[Moment, "When the server was asked."]
    summary: Annotated[OrganizationScanSummary, "How many there are, whatever was chosen of them."]
    users: Annotated[list[LookedUserDocument], "One for each user of each organization."]
    pats: Annotated[list[UserPatDocument], "One for each PAT that is valid now, and that was chosen."]
    errors: Annotated[list[PlaceFailureDocument], "Organizations whose users could not be listed."]


class AdminRevocationDocument(Document):
    """A PAT whose revocation an administrator requested, or would request."""

    dry_run: Annotated[bool, "Whether nothing was requested, because only a look was asked for."]
    run_id: Annotated[str, "Id of the run, as the audit log has it."]
    account: Annotated[str, "Account that asked for it."]
    organization: Annotated[str, "Azure DevOps organization."]
    authorization_id: Annotated[str, "Id of the PAT."]
    may_take_seconds: Annotated[int, "How long it may take until the PAT is refused. Nobody looks whether it is."]


def make_organization_scan_document(
    scans: Sequence[OrganizationScan], chosen: Sequence[UserPat], now: datetime
) -> OrganizationScanDocument:
    """Give every user, and the PATs that were chosen."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(now),
        "summary": count_users_pats(scans),
        "users": [_make_user(user) for scan in scans for user in scan.users],
        "pats": [_make_pat(pat) for pat in chosen],
        "errors": [
            make_place_failure(scan.account, scan.organization, scan.error) for scan in scans if scan.error is not None
        ],
    }


def count_users_pats(scans: Sequence[OrganizationScan]) -> OrganizationScanSummary:
    """Count the users and the PATs of all organizations."""
    looks = [user.look for scan in scans for user in scan.users]
    pats = [pat for scan in scans for pat in scan.pats]
    return {
        "users": len(looks),
        "ok": looks.count(UserLook.OK),
        "denied": looks.count(UserLook.DENIED),
        "skipped": looks.count(UserLook.SKIPPED),
        "pats": len(pats),
        "full_access": sum(pat.is_full_access for pat in pats),
        "long_lived": sum(pat.is_long_lived for pat in pats),
        "all_organizations": sum(pat.pat.all_organizations for pat in pats),
        "ownerless": sum(pat.user.is_deleted for pat in pats),
        "managed": sum(pat.name is not None for pat in pats),
        "unreadable": sum(scan.unreadable for scan in scans),
    }


def make_admin_revocation_document(
    run_id: str, account: str, organization: str, authorization_id: str, may_take_seconds: int, *, dry_run: bool
) -> AdminRevocationDocument:
    """Say what was requested, or would be."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "dry_run": dry_run,
        "account": account,
        "organization": organization,
        "authorization_id": authorization_id,
        "may_take_seconds": may_take_seconds,
    }


def _make_user(looked: LookedUser) -> LookedUserDocument:
    return {
        "organization": looked.organization,
        "user": looked.user.name,
        "descriptor": looked.user.descriptor,
        "look": looked.look,
        "service": looked.user.is_service,
        "pats": len(looked.pats) if looked.look is UserLook.OK else None,
        "error": make_failure_or_none(looked.error),
    }


def _make_pat(found: UserPat) -> UserPatDocument:
    pat = found.pat
    return {
        "state": found.kind,
        "name": found.name,
        "organization": found.organization,
        "user": found.user.name,
        "authorization_id": pat.authorization_id,
        "display_name": pat.display_name,
        "scopes": list(pat.scopes),
        "valid_from": write_moment(pat.valid_from),
        "expires_at": write_moment(pat.valid_to),
        "full_access": found.is_full_access,
        "long_lived": found.is_long_lived,
        "all_organizations": pat.all_organizations,
        "ownerless": found.user.is_deleted,
        "last_used_at": None,
    }
