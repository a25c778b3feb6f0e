"""Audit events as syslog messages (RFC 5424)."""

from __future__ import annotations

import re
from datetime import UTC

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Severity

_LOG_AUDIT = 13
"""The facility."""
_NOTICE = 5
"""The severity of an event that this version does not know."""
_SEVERITIES = {Severity.INFO: 6, Severity.WARNING: 4, Severity.ERROR: 3, Severity.CRITICAL: 2}
_NOT_PRINTABLE = re.compile(r"[^!-~]")


def make_syslog_message(event: AuditEvent, line: str, host: str) -> str:
    """Return an event as a message: the name of the event is its id, and a line of an export its text."""
    known = CATALOGUE.get(event.entry.event)
    severity = _NOTICE if known is None else _SEVERITIES[known.type.severity]
    moment = event.occurred_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    header = f"<{_LOG_AUDIT * 8 + severity}>1 {moment} {_field(host, 255)} rotator - {_field(event.entry.event, 32)} -"
    return f"{header} {line}"


def _field(text: str, longest: int) -> str:
    """Return a field of the header: printable, without blanks, and never empty."""
    return _NOT_PRINTABLE.sub("", text)[:longest] or "-"
