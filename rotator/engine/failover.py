"""A failover of the database that may have lost commits: what the vaults say is looked at before anything is changed.

A standby that is promoted, like a server that is restored, begins another timeline. What the old server had committed
last may be gone: a rotation that wrote a secret, or the intent of a mint. So the timeline of the last look is kept in
the audit log, and nothing is minted or revoked on another one. A run then reads what every record's secret holds. Where
a rotation wrote it of which the database knows nothing, the record is blocked, as after a restore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rotator.domain.audit_event import AuditEvent
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.places import TimelineChanged, TimelineReconciled
from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.engine.auditing import find_lasting, record
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.provenance import find_unknown_writer
from rotator.engine.reading import fetch_history
from rotator.engine.waiting import keep_books
from rotator.errors import ClaimHeldError, DatabaseBehindError, DatabaseError, FailoverError, RotatorError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading
from rotator.ports.secret_store import SecretLocation

DATABASE = "database-server"
"""The subject of these events. (`database` is its clock.)"""

_PAGE = 500
"""How many records one transaction reads."""

NoteFailure = Callable[[ClaimedPat, RotatorError], None]


@dataclass(frozen=True)
class _Look:
    """How many records are older than their secrets, and how many secrets could not be read."""

    behind: int
    unread: int


def check_timeline(reading: Reading) -> None:
    """Raise FailoverError when the server's timeline is another one than at the last look. Call it before a change."""
    if _is_changed(reading):
        raise FailoverError(
            "the database's server was replaced or restored, so commits may be lost; nothing was minted or revoked",
            fix="Run `rotator once`: it first compares every record with what its secret holds.",
        )


def reconcile_timeline(run: RunContext, note: NoteFailure) -> None:
    """Where the timeline changed, compare every record with its secret, and say what came of it.

    `note` notes the error of a record that is behind on it, under a claim. A secret that cannot be read stops nobody
    else: it is read again before its PAT is changed, and by the next run.
    """
    with run.services.database.read() as reading:
        known, current = _load_known(reading), reading.find_timeline()
        is_lasting = bool(find_lasting(reading, ConditionKind.TIMELINE_CHANGED))
    if current is None or (current == known and not is_lasting):
        return
    if known is None:
        _record(run, known, [TimelineReconciled(timeline=current)])
        return
    seen = _compare(run, note)
    is_clear = seen == _Look(0, 0)
    events: list[Event] = []
    if current != known:
        events = [TimelineChanged(timeline=current, previous=known, behind=seen.behind, unread=seen.unread)]
    _record(run, known, [*events, *([TimelineReconciled(timeline=current)] if is_clear else [])])


def _is_changed(reading: Reading) -> bool:
    current, known = reading.find_timeline(), _load_known(reading)
    return current is not None and known is not None and current != known


def _load_known(reading: Reading) -> str | None:
    """The timeline of the last look, by the audit log."""
    kinds = (TimelineChanged, TimelineReconciled)
    newest = [event for kind in kinds for event in reading.audit.load_newest(1, AuditFilter(event=kind.type.name))]
    if not newest:
        return None
    return str(max(newest, key=_get_sequence).entry.details.get("timeline"))


def _get_sequence(event: AuditEvent) -> int:
    return event.sequence


def _load_all(run: RunContext) -> Iterator[ManagedPat]:
    """Yield every record, page by page."""
    after = ""
    while True:
        with run.services.database.read() as reading:
            page = reading.inventory.load_page(after, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].name


def _compare(run: RunContext, note: NoteFailure) -> _Look:
    behind = unread = 0
    for pat in _load_all(run):
        try:
            with naming_bugs():
                error = _find_error(run, pat)
                if error is not None:
                    behind += 1
                    if pat.hold is not Hold.DATABASE_BEHIND:
                        with claimed(run, pat.name) as held:
                            note(held, error)
        except ClaimHeldError:
            continue  # counted, so the next run looks again; and whoever works on it will see the same
        except DatabaseError:
            raise
        except RotatorError:
            unread += 1
    return _Look(behind, unread)


def _find_error(run: RunContext, pat: ManagedPat) -> DatabaseBehindError | None:
    versions = fetch_history(run.services.secrets, SecretLocation.of(pat))
    return find_unknown_writer(run, pat, versions[0] if versions else None)


def _record(run: RunContext, known: str | None, events: Sequence[Event]) -> None:
    """Write these events, unless another run wrote its own since the timeline was `known`: it has looked, too."""

    def write() -> None:
        with run.services.database.begin() as work:
            lasting = work.conditions.lock(ConditionKind.TIMELINE_CHANGED)
            is_over = known == work.find_timeline() and not lasting
            if is_over or _load_known(work) != known:
                return
            for event in events:
                record(work, run, DATABASE, event, run.services.clock.now())

    if events:
        keep_books(run.services, write)
