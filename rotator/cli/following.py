"""Events as they are written: `rotator audit list --follow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rotator.domain.audit_event import AuditEvent
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database

_PAGE = 500
"""How many events one transaction reads."""


def follow_events(
    database: Database, after: int, wanted: AuditFilter, pause: Callable[[], bool]
) -> Iterator[AuditEvent]:
    """Give the wanted events after that number, and those that are written from now on, one read each turn.

    `pause` waits for the next turn, and returns whether there is to be one.
    """
    while True:
        with database.read() as reading:
            newest = reading.audit.load_newest_number()
            events = list(reading.audit.load_after(after, _PAGE, wanted))
        yield from events
        if len(events) == _PAGE:
            after = events[-1].sequence
            continue
        after = max(newest, after)
        if not pause():
            return
