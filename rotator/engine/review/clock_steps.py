"""How wrong the clock of a host was that dated events, as the log says itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.clocks import HOST
from rotator.domain.events.places import ClockConfirmed, ClockDoubted

_DOUBTED = ClockDoubted.type.name
WITNESSES = frozenset({_DOUBTED, ClockConfirmed.type.name})
"""Events that say whether the clock of a host was wrong."""
_MOST = 100 * 365 * 24 * 60 * 60


@dataclass(frozen=True)
class Stretch:
    """The events between which a host knew that its clock was wrong: the first, and the first one after it, if any.

    `step` is what is to be added to the time of an event. Events of other hosts may stand among them.
    """

    host: str
    step: timedelta
    first: int
    end: int | None

    def dated(self, event: AuditEvent) -> bool:
        """Whether the clock of that host dated an event."""
        within = self.first <= event.sequence and (self.end is None or event.sequence < self.end)
        return within and _find_host(event) == self.host


def find_stretches(witnesses: Iterable[AuditEvent]) -> Iterator[Stretch]:
    """Yield those of which the log says how wrong the clock was, from the doubt to what ended it."""
    begun: AuditEvent | None = None
    for event in witnesses:
        if event.entry.subject == HOST:
            yield from _make_stretch(begun, event.sequence)
            begun = event if event.entry.event == _DOUBTED else None
    yield from _make_stretch(begun, None)


def _make_stretch(begun: AuditEvent | None, end: int | None) -> Iterator[Stretch]:
    seconds = None if begun is None else begun.entry.details.get("seconds")
    if begun is not None and isinstance(seconds, int) and abs(seconds) < _MOST:  # somebody may have altered the log
        yield Stretch(_find_host(begun), timedelta(seconds=seconds), begun.sequence, end)


def _find_host(event: AuditEvent) -> str:
    return event.entry.actor.rpartition("@")[2]
