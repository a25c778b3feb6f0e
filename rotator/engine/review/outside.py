"""What the log says of what others did: comparisons with Azure DevOps' own log, and looks at all users' PATs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.administration import OrganizationScanned
from rotator.domain.events.service_log import (
    LeakReported,
    OutsideChangeFound,
    OwnChangesUnlisted,
    ServiceLogCompared,
    ServiceLogLost,
    ServiceLogNotRead,
)
from rotator.engine.review.newest import Newest

Span = tuple[datetime, datetime]
_NOT_READ = (ServiceLogNotRead.type.name, ServiceLogLost.type.name)
_FOREIGN = (OutsideChangeFound.type.name, LeakReported.type.name)


@dataclass
class ComparedLog:
    """Azure DevOps' own log of one organization: its newest comparison, and which spans were ever compared.

    `failed` is why it could not be read, if that is newer.
    """

    compared: AuditEvent | None = None
    failed: AuditEvent | None = None
    spans: list[Span] = field(default_factory=list)

    @property
    def events(self) -> Iterator[AuditEvent]:
        """The events that it is known by."""
        return (event for event in (self.compared, self.failed) if event is not None)


@dataclass
class Outside:
    """What others did, as far as somebody looked. `foreign` and `lacking` are events of the period.

    By organization: `logs`, and `scans`, which are the newest looks at all users' PATs.
    """

    logs: dict[str, ComparedLog] = field(default_factory=dict)
    foreign: Newest[AuditEvent] = field(default_factory=Newest)
    lacking: Newest[AuditEvent] = field(default_factory=Newest)
    scans: dict[str, AuditEvent] = field(default_factory=dict)

    def take(self, event: AuditEvent, *, is_in_period: bool) -> None:
        """Take the next event of the log, of whatever kind."""
        name, organization = event.entry.event, find_organization(event)
        if name == ServiceLogCompared.type.name:
            log = self.logs.setdefault(organization, ComparedLog())
            log.compared, log.failed = event, None
            if (span := read_span(event)) is not None:
                _add_span(log.spans, span)
        elif name in _NOT_READ:
            self.logs.setdefault(organization, ComparedLog()).failed = event
        elif name == OrganizationScanned.type.name:
            self.scans[organization] = event
        elif is_in_period and name in _FOREIGN:
            self.foreign.add(event)
        elif is_in_period and name == OwnChangesUnlisted.type.name:
            self.lacking.add(event)

    @property
    def cited(self) -> Iterator[int]:
        """The numbers of the events that may be from outside of the period."""
        for log in self.logs.values():
            yield from (event.sequence for event in log.events)
        yield from (event.sequence for event in self.scans.values())


def find_organization(event: AuditEvent) -> str:
    """Return the organization of an event whose subject is an account's organization."""
    return event.entry.subject.rpartition("/")[2]


def read_span(compared: AuditEvent) -> Span | None:
    """Return the span that a comparison is about; None for what somebody may have put there who altered the log."""
    details = compared.entry.details
    try:
        begins, ends = (datetime.fromisoformat(str(details.get(name))) for name in ("since", "until"))
        is_moment = begins.tzinfo is not None and ends.tzinfo is not None
        return (begins.astimezone(UTC), ends.astimezone(UTC)) if is_moment else None
    except (ValueError, OverflowError):
        return None


def measure_covered(log: ComparedLog, begins: datetime, ends: datetime) -> timedelta:
    """Return how much of a span was compared."""
    parts = (min(until, ends) - max(since, begins) for since, until in log.spans)
    return sum((part for part in parts if part > timedelta(0)), timedelta(0))


def _add_span(spans: list[Span], new: Span) -> None:
    """Add a span, so that no two of them overlap or touch."""
    begins, ends = new
    apart = [span for span in spans if span[1] < begins or span[0] > ends]
    joined = [span for span in spans if span not in apart]
    begins, ends = min([begins, *(span[0] for span in joined)]), max([ends, *(span[1] for span in joined)])
    spans[:] = sorted([*apart, (begins, ends)])
