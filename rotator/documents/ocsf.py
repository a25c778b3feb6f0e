"""Audit events in the words of the Open Cybersecurity Schema Framework: class 3004, Entity Management, of OCSF 1.8."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator import __version__
from rotator.domain.audit_event import AuditEvent, Outcome
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Severity, SubjectKind

_SCHEMA, _CLASS = "1.8.0", 3004
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OTHER = 99
_ACTIVITIES = {
    "Create": (1, ("pat_minted", "pat_created")),
    "Read": (2, ("scan_started", "secret_read", "anchor_read")),
    "Update": (
        3,
        (
            "secret_stored",
            "secret_restored",
            "pat_updated",
            "pat_moved",
            "pat_renamed",
            "policy_changed",
            "settings_changed",
        ),
    ),
    "Delete": (4, ("revoke_started", "revocation_requested", "pat_revoked")),
    "Enroll": (6, ("pat_adopted", "pat_taken_over")),
    "Unenroll": (7, ("pat_forgotten", "pat_dropped")),
    "Disable": (9, ("secret_version_disabled",)),
    "Suspend": (12, ("pat_paused", "all_paused")),
    "Resume": (13, ("pat_resumed", "all_resumed")),
}
_BY_EVENT = {event: (number, name) for name, (number, events) in _ACTIVITIES.items() for event in events}
_SEVERITIES = {
    Severity.INFO: (1, "Informational"),
    Severity.WARNING: (3, "Medium"),
    Severity.ERROR: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_STATUSES = {
    Outcome.SUCCEEDED: (1, "Success"),
    Outcome.FAILED: (2, "Failure"),
    Outcome.UNKNOWN: (0, "Unknown"),
    Outcome.INTENDED: (_OTHER, "Intended"),
}
_ENTITIES = {
    SubjectKind.ACCOUNT: (2, "User"),
    SubjectKind.ORGANIZATION: (4, "Organization"),
    SubjectKind.POLICY: (5, "Policy"),
}


def make_ocsf_document(event: AuditEvent) -> dict[str, object]:
    """Return an event as OCSF has it; its own fields, and what its hash is made of, are in `unmapped`.

    An event for which OCSF has no activity is `Other` (99), and so is one that this version does not know. `time` is in
    milliseconds.
    """
    entry, known = event.entry, CATALOGUE.get(event.entry.event)
    activity, activity_name = _BY_EVENT.get(entry.event, (_OTHER, entry.event))
    severity, severity_name = (0, "Unknown") if known is None else _SEVERITIES[known.type.severity]
    status, status_name = _STATUSES[entry.outcome]
    kind = None if known is None else known.type.subject
    other = (_OTHER, "unknown" if kind is None else kind.value)
    entity_type, entity_name = other if kind is None else _ENTITIES.get(kind, other)
    return {
        "activity_id": activity,
        "activity_name": activity_name,
        "actor": {"user": {"name": entry.actor}},
        "category_name": "Identity & Access Management",
        "category_uid": _CLASS // 1000,
        "class_name": "Entity Management",
        "class_uid": _CLASS,
        "entity": {"name": entry.subject, "type": entity_name, "type_id": entity_type},
        "message": f"{entry.event} {entry.outcome}: {entry.subject}",
        "metadata": {
            "correlation_uid": entry.run_id,
            "event_code": entry.event,
            "log_name": "audit",
            "original_time": event.occurred_at.isoformat(),
            "product": {"name": "rotator", "vendor_name": "rotator", "version": __version__},
            "sequence": event.sequence,
            "uid": event.hash,
            "version": _SCHEMA,
        },
        "severity": severity_name,
        "severity_id": severity,
        "status": status_name,
        "status_id": status,
        "time": count_milliseconds(event.occurred_at),
        "type_name": f"Entity Management: {activity_name}",
        "type_uid": _CLASS * 100 + activity,
        "unmapped": {
            "details": dict(entry.details),
            "previous_hash": event.previous_hash,
            "hash": event.hash,
            "encoding": event.encoding,
        },
    }


def count_milliseconds(moment: datetime) -> int:
    """Return how many milliseconds after the beginning of 1970 a moment is."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
