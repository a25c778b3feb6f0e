"""What people's commands did not do."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, Severity, SubjectKind


class CommandRefused(
    Event, name="command_refused", subject=SubjectKind.COMMAND, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A command that a person gave was refused, or failed, as a whole or for the PAT in `managed_pat`; why."""

    code: str
    message: str
    managed_pat: str | None = None
