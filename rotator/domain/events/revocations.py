"""What becomes of a PAT that is to be revoked: the request's answer is one thing, the proof another."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class RevokeStarted(Event, name="revoke_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A PAT is about to be revoked: `why` is a kind, `code` what led to it, `despite` what did not hold it back."""

    authorization_id: str | None
    why: str
    code: str | None = None
    despite: str | None = None


class RevocationRequested(Event, name="revocation_requested", subject=SubjectKind.MANAGED_PAT):
    """Azure DevOps accepted the request to revoke a PAT. That is no proof: the PAT is looked for until it is gone."""

    authorization_id: str
    why: str


class RevocationFailed(
    Event,
    name="revocation_failed",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The request to revoke a PAT was refused (`refused`) or not answered, as `code` says."""

    authorization_id: str
    code: str
    refused: bool = False


class PatRevoked(Event, name="pat_revoked", subject=SubjectKind.MANAGED_PAT):
    """It is confirmed that a PAT is revoked: the server's lists show that it is gone."""

    authorization_id: str | None
    why: str


class RevocationDropped(Event, name="revocation_dropped", subject=SubjectKind.MANAGED_PAT):
    """A PAT that was to be revoked is in use again, by the record `by`; it is not revoked."""

    authorization_id: str
    by: str


class RevocationUnconfirmed(
    Event,
    name="revocation_unconfirmed",
    subject=SubjectKind.PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.REVOCATION_PENDING,
):
    """A PAT of `name` was to be revoked at least 15 minutes ago and is not seen gone; each run asks again."""

    name: str
    requested_at: datetime
    requests: int


class RevocationResolved(
    Event, name="revocation_resolved", subject=SubjectKind.PAT, ends=(ConditionKind.REVOCATION_PENDING,)
):
    """A PAT whose revocation was not confirmed is gone, in use again, or left to a person."""
