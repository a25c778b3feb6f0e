"""Record what a comparison with Azure DevOps' own log found, each thing once: our audit log remembers what was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rotator.domain.account import Account
from rotator.domain.audit_event import Detail
from rotator.domain.events.event import Event
from rotator.domain.events.service_log import (
    LeakReported,
    OutsideChangeFound,
    OwnChangesUnlisted,
    ServiceLogCompared,
    ServiceLogLost,
    ServiceLogNotRead,
)
from rotator.domain.log_comparison import EARLY
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.log_findings import OrganizationLog, make_compared, make_event, make_lack
from rotator.engine.subjects import name_organization
from rotator.engine.waiting import keep_books
from rotator.errors import SignInRequiredError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading

_MOST_NUMBERS, _MOST_TOLD = 100, 100_000
_LONGEST_NUMBER = 19


def load_told(reading: Reading, since: datetime) -> tuple[set[str], set[int]]:
    """Return which entries, and which events of ours, were told before: after they happened, so in this period."""
    entries, numbers = set[str](), set[int]()
    for kind in (OutsideChangeFound, LeakReported, OwnChangesUnlisted):
        wanted = AuditFilter(since=since - EARLY, event=kind.type.name)
        for event in reading.audit.load_newest(_MOST_TOLD, wanted):
            details = event.entry.details
            entries.add(str(details.get("entry_id", "")))
            numbers |= set(_read_numbers(details.get("numbers")))
    return entries, numbers


def _read_numbers(value: Detail) -> Iterator[int]:
    """Yield the numbers of an event that names several; what is none, as of somebody who altered it, is passed over."""
    for number in str(value or "").split(", "):
        if number.isdecimal() and len(number) <= _LONGEST_NUMBER:
            yield int(number)


def record_news(run: RunContext, accounts: Sequence[Account], result: OrganizationLog) -> None:
    """Record what is news, and that the log was compared; or why it was not, or not as a whole, once."""

    def write() -> None:
        with run.services.database.begin() as work:
            now = run.services.clock.now()
            for subject, event in _list_events(work, accounts, result):
                record(work, run, subject, event, now)

    keep_books(run.services, write)


def _list_events(reading: Reading, accounts: Sequence[Account], result: OrganizationLog) -> list[tuple[str, Event]]:
    place = name_organization((result.account, result.organization))
    # Once more, in the transaction that writes it: another process may have told of it meanwhile.
    entries, numbers = load_told(reading, result.since)
    events: list[tuple[str, Event]] = [
        (name_organization((item.account, result.organization)), make_event(item))
        for item in result.findings
        if item.entry.id not in entries
    ]
    for account in accounts:
        missed = [item.action for item in result.lacking if item.action.account == account.name]
        new = [action for action in missed if action.number not in numbers]
        for start in range(0, len(new), _MOST_NUMBERS):
            lacks = make_lack(new[start : start + _MOST_NUMBERS])
            events.append((name_organization((account.name, result.organization)), lacks))
    return [*events, *((place, event) for event in _list_ends(reading, place, result))]


def _list_ends(reading: Reading, place: str, result: OrganizationLog) -> list[Event]:
    """Return that the log was compared, or why not; nothing if that was told, or other jobs tell of it."""
    error = result.error
    if error is None:
        return [make_compared(result)]
    if result.fails or isinstance(error, SignInRequiredError) or not _is_news(reading, place, error.code):
        return []
    kind = ServiceLogLost if result.was_read else ServiceLogNotRead
    return [kind(code=error.code, message=error.message)]


def _is_news(reading: Reading, place: str, code: str) -> bool:
    last = [
        found
        for kind in (ServiceLogNotRead, ServiceLogLost, ServiceLogCompared)
        for found in reading.audit.load_newest(1, AuditFilter(event=kind.type.name, subject=place))
    ]
    newest = max(last, key=lambda event: event.sequence, default=None)
    return newest is None or newest.entry.details.get("code") != code
