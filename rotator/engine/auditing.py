"""Write the audit log, and check that it is intact."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from rotator.domain.audit_event import GENESIS_HASH, AuditEntry, AuditEvent, Detail, make_hash
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.events.inventory import CreationDropped, PatForgotten, PatRenamed
from rotator.domain.events.places import (
    AccountDown,
    OrganizationDown,
    PolicyChanged,
    SettingsChanged,
    SignInLapsed,
    VaultDown,
)
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.context import RunContext
from rotator.engine.subjects import find_place
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError
from rotator.ports.audit_log import EVERY_EVENT, AuditFilter
from rotator.ports.database import Database, Reading, UnitOfWork
from rotator.ports.progress import Progress

_BEGUN = [event.type.begins for event in EVENTS if event.type.subject is SubjectKind.MANAGED_PAT]
_KINDS_OF_PATS = frozenset(kind for kind in _BEGUN if kind is not None)
"""The conditions whose subject is a ManagedPat, and no account or place of the same name."""
_BY_CAUSE = (
    ConditionKind.SIGN_IN_NEEDED,
    ConditionKind.ACCOUNT_DOWN,
    ConditionKind.ORGANIZATION_DOWN,
    ConditionKind.PROBE_FAILING,
)
"""What is told again when its cause changes. Every failure of work on a ManagedPat is told when it happens."""
_LEAVING = (PatRenamed.type.name, PatForgotten.type.name, CreationDropped.type.name)
"""By these events a name is free again."""
_PAGE = 1000
"""How many events one transaction reads."""
CHECKED_PAGE = 5000
"""The same where all are read to be checked: fewer transactions."""


@dataclass(frozen=True)
class Author:
    """Who the audit log names: `actor` is the user and the host, `run_id` is shared by the events of one run.

    `progress` writes the log, `reason` is why a person did it, and `command` is as in `RunContext`.
    """

    actor: str
    run_id: str
    progress: Progress
    reason: str | None = None
    command: Mapping[str, str] = field(default_factory=dict)


def record(
    work: UnitOfWork, author: Author | RunContext, subject: str, event: Event, at: datetime, **place: Detail
) -> AuditEvent:
    """Write what happened to a subject into the audit log, and into the log once the transaction is committed.

    It begins and ends the conditions that depend on it. `place` says where it happened, beside the event's own fields.
    Nothing else writes to the audit log. It is the last thing that a transaction does: until it ends, nobody else can
    write an event.
    """
    work.afterwards(partial(author.progress, _name_waiting(work, event, subject), subject))
    return record_logged(work, author, subject, event, at, **place)


def _name_waiting(reading: Reading, event: Event, subject: str) -> Event:
    """Return the event as the log tells it: that a place is down, with the ManagedPats that wait for it."""
    kind = event.type.begins
    if kind is None or not isinstance(event, SignInLapsed | AccountDown | OrganizationDown | VaultDown):
        return event
    names = [pat.name for pat in reading.inventory.load_all() if find_place(kind, pat) == subject]
    return event.changed(pats=", ".join(names))


def record_logged(
    work: UnitOfWork, author: Author | RunContext, subject: str, event: Event, at: datetime, **place: Detail
) -> AuditEvent:
    """Do as `record` does with an event that the log has already."""
    said = author.command if author.reason is None else {**author.command, "reason": author.reason}
    details = {**place, **event.make_details(), **said}
    entry = AuditEntry(event.type.name, subject, event.type.outcome, author.actor, author.run_id, details)
    written = work.audit.append(entry, at)
    if event.type.ends:
        work.conditions.end(event.type.ends, subject)
    if event.type.begins is not None:
        code = event.make_details().get("code")
        work.conditions.begin(Condition(event.type.begins, subject, at, code=None if code is None else str(code)))
    return written


def record_renamed(
    work: UnitOfWork, author: Author | RunContext, event: PatRenamed, at: datetime, **place: Detail
) -> None:
    """Write under both names that a ManagedPat was renamed; what is wrong and lasts is wrong under the new name.

    So is what receivers were told of.
    """
    for receiver in work.outbox.load_receivers():
        for item in work.outbox.load_deliveries(receiver.name):
            told = item.find_told()
            if told is not None and told.cause.kind in _KINDS_OF_PATS and event.old_name in told.subjects:
                work.outbox.save_delivery(item.rename(event.old_name, event.new_name))
    for name in (event.old_name, event.new_name):
        record(work, author, name, event, at, **place)
    for condition in work.conditions.load_of(_KINDS_OF_PATS):
        if condition.subject == event.old_name:
            work.conditions.end([condition.kind], event.old_name)
            work.conditions.begin(replace(condition, subject=event.new_name))


def find_record(reading: Reading, event: AuditEvent) -> ManagedPat | None:
    """Return the record that an event is about, whatever its name is now; None when it is gone.

    What happened to the name from then on tells: another record may have it now.
    """
    name, number = event.entry.subject, event.sequence - 1
    while True:
        gone = [found for kind in _LEAVING for found in _load_leaving(reading, kind, name, number)]
        if not gone:
            return reading.inventory.load(name)
        first = min(gone, key=lambda found: found.sequence)
        if first.entry.event != PatRenamed.type.name:
            return None
        name, number = str(first.entry.details["new_name"]), first.sequence


def _load_leaving(reading: Reading, kind: str, name: str, number: int) -> list[AuditEvent]:
    """Return the events of one kind after that number by which a name has lost its record.

    One that cannot be read ends them: the check of the log names it, and only what happened before is asked here.
    """
    found: list[AuditEvent] = []
    with suppress(AuditChainError):
        found.extend(reading.audit.load_after(number, _PAGE, AuditFilter(event=kind, subject=name)))
    return [event for event in found if event.entry.details.get("new_name") != name]


def find_lasting(reading: Reading, kind: ConditionKind) -> set[str]:
    """Return the subjects of the conditions of one kind that last now."""
    return {condition.subject for condition in reading.conditions.load_of([kind])}


def is_news(reading: Reading, event: Event, subject: str) -> bool:
    """Whether an event begins a condition of its subject, or names another cause of one that lasts."""
    kinds = [kind for kind in (event.type.begins, ConditionKind.SIGN_IN_NEEDED) if kind is not None]
    lasting = {(found.kind, found.subject): found for found in reading.conditions.load_of(kinds)}
    return is_news_to(lasting, event, subject)


def is_news_to(lasting: Mapping[tuple[ConditionKind, str], Condition], event: Event, subject: str) -> bool:
    """Whether an event is news where these conditions last."""
    kind = event.type.begins
    if kind is ConditionKind.ACCOUNT_DOWN and (ConditionKind.SIGN_IN_NEEDED, subject) in lasting:
        return False  # an account that a person must sign in stays that, although Entra cannot be asked now
    found = None if kind is None else lasting.get((kind, subject))
    return found is None or (found.kind in _BY_CAUSE and found.code != event.make_details().get("code"))


def is_recorded(reading: Reading, event: AuditEvent) -> bool:
    """Whether the transaction that wrote this event was kept: then the log holds it, not another with its number."""
    found = reading.audit.load(event.sequence)
    return found is not None and found.hash == event.hash


def record_policy(run: RunContext) -> None:
    """Write `policy_changed` and `settings_changed` when they are not the last ones that the audit log names.

    That is the last one of this user and host, if there is one: hosts with different files tell of them once each, and
    not at each of their runs in turn. Who told of none works with what any other told, until that changes here. What a
    daemon told before counts as well, whatever others of its user and host told since. A transaction of its own;
    nothing is written where nothing has changed.
    """
    used: dict[type[PolicyChanged | SettingsChanged], str] = {PolicyChanged: run.policy.digest}
    if run.services.settings_digest is not None:
        used[SettingsChanged] = run.services.settings_digest

    named = {kind.type.name: digest for kind, digest in used.items()}
    texts: dict[type[Event], str | None] = {PolicyChanged: run.policy.text}

    told = {} if run.pulse is None else run.pulse.told

    def find_news(reading: Reading) -> list[tuple[type[PolicyChanged | SettingsChanged], str]]:
        """Those that are news, as far as the log names them; what this daemon told is none."""
        before = {kind: told.get(kind.type.name) for kind in used}
        return [
            (kind, digest)
            for kind, digest in used.items()
            if not _is_known(reading, (kind, run.actor), digest, texts.get(kind), before[kind])
        ]

    def is_known() -> bool:
        with run.services.database.read() as reading:
            return not find_news(reading)

    def write() -> None:
        with run.services.database.begin() as work:
            for kind, digest in find_news(work):
                last = _find_change(work, kind, run.actor)
                previous = None if last is None else str(last.entry.details.get("sha256"))
                event = kind(sha256=digest, previous=previous)
                event = event.changed(text=texts.get(kind)) if isinstance(event, PolicyChanged) else event
                record(work, run, _NAMES[kind], event, run.services.clock.now())

    if not keep_books(run.services, is_known):
        keep_books(run.services, write)
    if run.pulse is not None:
        run.pulse.told = named


def load_tellers(reading: Reading) -> dict[str, datetime]:
    """Return who told of another policy or of other settings of late, and when last."""
    wanted = (AuditFilter(event=kind.type.name) for kind in _NAMES)
    told = [event for found in wanted for event in reading.audit.load_newest(_MOST_TOLD, found)]
    return {event.entry.actor: event.occurred_at for event in sorted(told, key=lambda event: event.occurred_at)}


def _is_known(reading: Reading, of: tuple[type[Event], str], digest: str, text: str | None, before: str | None) -> bool:
    """Whether a kind of digest is the last one that an actor told; or what it, the daemon, told `before` too.

    Who told of none: whether others told of it lately, and the daemon worked with no other before.
    """
    kind, actor = of
    wanted = AuditFilter(event=kind.type.name)
    if own := reading.audit.load_newest(_MOST_TOLD, replace(wanted, actor=actor)):
        was_told = any(event.entry.details.get("sha256") == digest for event in own)
        return _is_told(own[-1], digest, text) or (before == digest and was_told)
    told = reading.audit.load_newest(_MOST_TOLD, wanted)
    return before in (None, digest) and any(_is_told(event, digest, text) for event in told)


_MOST_TOLD = 20
_NAMES: Mapping[type[Event], str] = {PolicyChanged: "policy", SettingsChanged: "settings"}


def _find_change(reading: Reading, kind: type[Event], actor: str) -> AuditEvent | None:
    """Return the event that names the policy or the settings last, of an actor if there is one."""
    wanted = AuditFilter(event=kind.type.name)
    changes = reading.audit.load_newest(1, replace(wanted, actor=actor)) or reading.audit.load_newest(1, wanted)
    return changes[0] if changes else None


def _is_told(told: AuditEvent | None, digest: str, text: str | None) -> bool:
    """Whether an event names this digest, and the text if there is one: earlier versions did not write that down."""
    details = {} if told is None else told.entry.details
    return details.get("sha256") == digest and (text is None or "text" in details)


def list_named(reading: Reading, kind: str) -> Iterator[AuditEvent]:
    """Yield the events of a kind, the oldest first, however many there are, page by page.

    One that cannot be read is left out: the check of the log names it, and it must keep nobody from work.
    """
    return (found for found in read_named(reading, kind) if isinstance(found, AuditEvent))


def read_named(reading: Reading, kind: str) -> Iterator[AuditEvent | AuditChainError]:
    """Yield the events of a kind as `list_named` does; for each that cannot be read, the error that names it."""
    after, limit = 0, _PAGE
    while True:
        try:
            page = reading.audit.load_named({kind}, after, limit)
        except AuditChainError as error:
            if limit == 1:
                yield error
                after = error.sequence
            limit = 1  # of a page with such an event, one by one
            continue
        if not page:
            return
        yield from page
        after = page[-1].sequence


def load_events(
    database: Database, wanted: AuditFilter = EVERY_EVENT, page_size: int = _PAGE, after: int | None = None
) -> Iterator[AuditEvent]:
    """Yield the wanted events after that number in order, up to the newest one at the time of the call.

    They are read page by page, each page in its own transaction: however slow the caller is, no transaction stays
    open, and no more than a page is in memory. AuditChainError at an event that cannot be read.
    """
    with database.read() as reading:
        newest = reading.audit.load_newest_number()
    return _load_pages(database, newest, wanted, page_size, after)


def _load_pages(
    database: Database, newest: int, wanted: AuditFilter, page_size: int, last: int | None
) -> Iterator[AuditEvent]:
    while last is None or last < newest:
        page, error = _load_page(database, last, wanted, page_size)
        for event in page:
            if event.sequence > newest:
                return
            yield event
        if error is not None:
            raise error
        if len(page) < page_size:
            return
        last = page[-1].sequence


def stream_events(database: Database, after: int | None = None) -> Generator[AuditEvent, None, None]:
    """Do as `load_events` does for a caller that is quick: a page is still being read while it has its events.

    Close it: until then a transaction may be open.
    """
    with database.read() as reading:
        newest = reading.audit.load_newest_number()
    last, count = after, CHECKED_PAGE
    while count == CHECKED_PAGE:
        count = 0
        with database.read() as reading:
            for event in reading.audit.load_after(last, CHECKED_PAGE):
                if event.sequence > newest:
                    return
                yield event
                last, count = event.sequence, count + 1


def _load_page(
    database: Database, after: int | None, wanted: AuditFilter, page_size: int
) -> tuple[list[AuditEvent], AuditChainError | None]:
    page: list[AuditEvent] = []
    with database.read() as reading:
        try:
            page.extend(reading.audit.load_after(after, page_size, wanted))
        except AuditChainError as error:
            return page, error
    return page, None


@dataclass(frozen=True)
class ChainSummary:
    """An intact chain: how many events, and the hash of the last (the genesis hash when there are none)."""

    events: int
    head: str


_NO_JUMPS: Mapping[int, ChainSummary] = {}


def check_chain(events: Iterable[AuditEvent], jumps: Mapping[int, ChainSummary] = _NO_JUMPS) -> ChainSummary:
    """Recompute every hash. AuditChainError names the first event that is altered, missing or out of order.

    `jumps` say where events are left out that a signed archive has: after which number, and up to where.
    """
    count, head = _jump(0, GENESIS_HASH, jumps)
    for event in events:
        if event.sequence != count + 1:
            raise _broken(count + 1, f"number {count + 1}", f"number {event.sequence}", "is missing or moved")
        if event.previous_hash != head:
            raise _broken(event.sequence, head, event.previous_hash, "does not follow the one before it")
        check_event(event)
        count, head = _jump(event.sequence, event.hash, jumps)
    return ChainSummary(count, head)


def check_event(event: AuditEvent) -> None:
    """AuditChainError when an event says something else than was hashed."""
    try:
        digest = make_hash(event.sequence, event.occurred_at, event.entry, event.previous_hash, event.encoding)
    except ValueError as error:  # rotator never writes that
        digest = f"nothing that can be hashed ({error})"
    if digest != event.hash:
        raise _broken(event.sequence, digest, event.hash, "was altered after it was written")


def _jump(count: int, head: str, jumps: Mapping[int, ChainSummary]) -> tuple[int, str]:
    while (target := jumps.get(count)) is not None:
        count, head = target.events, target.head
    return count, head


def _broken(sequence: int, expected: str, found: str, what: str) -> AuditChainError:
    return AuditChainError(
        f"audit event {sequence} {what}: expected {expected}, found {found}",
        sequence=sequence,
        expected=expected,
        found=found,
        fix="Keep the database as it is for the investigation; restore a backup elsewhere "
        "and compare the logs from this event on.",
    )
