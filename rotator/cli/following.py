"""Events as they are written: `rotator audit list --follow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rotator.domain.audit_event import AuditEvent
from rotator.errors import NotManagedError, UsageError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database

_PAGE = 500
"""How many events one transaction reads."""
_FIX = "If this database was restored from a backup, export again from an event that both logs have."


def follow_events(
    database: Database, after: int, wanted: AuditFilter, pause: Callable[[], bool]
) -> Iterator[AuditEvent]:
    """Give the wanted events after that number, and those that are written from now on, one read each turn.

    `pause` waits for the next turn, and returns whether there is to be one. UsageError when the log is another one
    meanwhile, as after a restore: some of its events were given before, under other numbers, and others never would be.
    """
    head: str | None = None
    while True:
        with database.read() as reading:
            newest, last = reading.audit.load_head(), reading.audit.load(after)
            check_cursor(after, newest.sequence if newest else 0)
            if head is not None and last is not None and last.hash != head:
                raise UsageError(f"the audit log has another event {after} than before", fix=_FIX)
            events = list(reading.audit.load_after(after, _PAGE, wanted))
        yield from events
        newest = events[-1] if len(events) == _PAGE else newest
        if newest is not None:
            after, head = newest.sequence, newest.hash
        if len(events) < _PAGE and not pause():
            return


def check_cursor(after: int, newest: int) -> None:
    """UsageError for an event that the log does not have yet: nothing would ever come after it without a word."""
    if after > newest:
        raise UsageError(
            f"the audit log has no event {after} yet: its newest is {newest}", code=NotManagedError.code, fix=_FIX
        )
