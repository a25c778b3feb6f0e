"""What happens to the jobs, and to the daemon that does them."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, Severity, SubjectKind


class RunUnrecorded(
    Event, name="run_unrecorded", subject=SubjectKind.JOB, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A job was done, but its end could not be written to the database: `status` does not count it."""

    code: str
