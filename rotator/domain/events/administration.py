"""What a token administrator did: looked at the PATs of all users of an organization, and revoked one of them."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, Severity, SubjectKind


class OrganizationScanned(Event, name="organization_scanned", subject=SubjectKind.ORGANIZATION):
    """An administrator looked at the PATs of all users; `denied` and `skipped` are those of whom nothing is known."""

    users: int
    denied: int
    skipped: int
    pats: int
    full_access: int
    long_lived: int
    all_organizations: int
    ownerless: int
    managed: int
    unreadable: int = 0


class AdminRevocationStarted(Event, name="admin_revocation_started", subject=SubjectKind.PAT, outcome=Outcome.INTENDED):
    """A person is about to have a PAT of any user of the organization revoked, as its administrator."""


class AdminRevocationRequested(Event, name="admin_revocation_requested", subject=SubjectKind.PAT):
    """Azure DevOps accepted it. It may take up to an hour, and nobody looks whether the PAT is gone."""


class AdminRevocationFailed(
    Event,
    name="admin_revocation_failed",
    subject=SubjectKind.PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The request was refused (`refused`) or not answered, as `code` says."""

    code: str
    refused: bool = False
