"""What the probes of values show: the value that consumers of a managed PAT read signs in, or does not."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class ProbeFailed(
    Event,
    name="probe_failed",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.PROBE_FAILING,
):
    """The value that consumers read did not sign in, twice in a row; `code` and `message` say the likely cause."""

    code: str
    message: str


class ProbeRestored(Event, name="probe_restored", subject=SubjectKind.MANAGED_PAT, ends=(ConditionKind.PROBE_FAILING,)):
    """The value that consumers read signs in again or is no longer tried, or the record calls its PAT gone."""
