"""What a comparison of the audit log with Azure DevOps' own log shows."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, Severity, SubjectKind


class OutsideChangeFound(
    Event,
    name="outside_change_found",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
):
    """By Azure DevOps' own log somebody else touched a PAT of the account; `value` is what a try of `name` showed."""

    kind: str
    display_name: str
    at: datetime
    by: str
    entry_id: str
    name: str | None = None
    value: str | None = None


class LeakReported(
    Event,
    name="leak_reported",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
):
    """By Azure DevOps' own log a PAT of the account was found in a public place, or the service itself revoked it."""

    kind: str
    display_name: str
    at: datetime
    entry_id: str
    name: str | None = None
    value: str | None = None
    on_leak: str | None = None


class OwnChangesUnlisted(
    Event,
    name="own_changes_unlisted",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
):
    """Azure DevOps' own log lacks mints and revocations of ours, `changes` of them, begun with the events `numbers`."""

    changes: int
    first_at: datetime
    last_at: datetime
    numbers: str


class ServiceLogCompared(Event, name="service_log_compared", subject=SubjectKind.ORGANIZATION):
    """Azure DevOps' own log of a period was compared with ours. `lost_since`: from then to `since` nobody compared."""

    since: datetime
    until: datetime
    explained: int
    foreign: int
    lacking: int
    unreadable: int
    lost_since: datetime | None = None


class ServiceLogNotRead(Event, name="service_log_not_read", subject=SubjectKind.ORGANIZATION):
    """Azure DevOps' own log of an organization was never compared with ours: `code` says why not. Told once."""

    code: str
    message: str


class ServiceLogLost(
    Event,
    name="service_log_lost",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
    needs_person=True,
):
    """Azure DevOps' own log of an organization can no longer be compared with ours, as `code` says. Told once."""

    code: str
    message: str


class LogEntriesRead(Event, name="log_entries_read", subject=SubjectKind.ORGANIZATION):
    """So many entries of Azure DevOps' own log were read so far: it is a long one. Only the log says so."""

    entries: int
