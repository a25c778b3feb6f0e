"""Which rotations began long after the policy asked for them, and what was in the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events import inventory, places, rotations
from rotator.domain.period import Period
from rotator.engine.review.facts import Late, Values
from rotator.engine.review.marks import Mark, Span
from rotator.engine.review.overlaps import EVERYWHERE, read_moment

LATE_AFTER = timedelta(days=1)
"""How long after the moment that the policy asks for a rotation may begin: runs have limits, and services pauses."""
_MOST_CAUSES = 5
_MOST_SPANS = 50
"""How many of the newest that are over are kept for each subject."""
_MOST_TRIES = 20
_PLANNED, _POLICY = rotations.RotationPlanned.type.name, places.PolicyChanged.type.name
_PAUSED, _RESUMED = inventory.PatPaused.type.name, inventory.PatResumed.type.name


@dataclass
class _Known:
    """What is known of one managed PAT: its last change, and the rotations of the PAT in use that began so far."""

    changed: Mark | None = None
    paused: tuple[Mark, Mark | None] | None = None
    old: str | None = None
    tried: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_TRIES))
    late: Late | None = None


class LateFollower:
    """Follows the rotations of each managed PAT, and adds those to `found` that began late: one for each old PAT.

    If a rotation that was late is tried again, the last one counts. `changing` are the events after which what is
    asked may be another than before.
    """

    def __init__(self, found: Values, period: Period, changing: frozenset[str]) -> None:
        self._found, self._period, self._changing = found, period, changing
        self._policy: tuple[str, Mark] | None = None
        self._known: dict[str, _Known] = {}
        self._over: dict[str, deque[Span]] = {}

    def take(self, event: AuditEvent, mark: Mark, standing: Iterable[Span]) -> None:
        """Take the next event. `standing` is what is wrong now."""
        name, details = event.entry.event, event.entry.details
        if name == _POLICY:
            digest = str(details.get("sha256"))
            if self._policy is None or self._policy[0] != digest:
                self._policy = digest, mark
            return
        if name not in self._changing and name not in (_PLANNED, _PAUSED, _RESUMED):
            return
        known = self._known.setdefault(event.entry.subject, _Known())
        if name == _PLANNED:
            self._plan(known, event, mark, standing)
        elif name == _PAUSED:
            known.paused = mark, None
        elif name == _RESUMED:
            known.paused = None if known.paused is None else (known.paused[0], mark)
        else:
            known.changed = mark

    def take_span(self, span: Span) -> None:
        """Take something wrong that ended."""
        place = "" if span.kind in EVERYWHERE else span.subject
        self._over.setdefault(place, deque(maxlen=_MOST_SPANS)).append(span)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        if (known := self._known.pop(old, None)) is not None:
            self._known[new] = known
        if (over := self._over.pop(old, None)) is not None:
            self._over[new] = over

    def finish(self) -> None:
        """Add those of the PATs that are in use."""
        for known in self._known.values():
            self._note(known)

    def _plan(self, known: _Known, event: AuditEvent, mark: Mark, standing: Iterable[Span]) -> None:
        details = event.entry.details
        if "due_at" not in details:
            self._found.undated += mark.happened_at in self._period
        old, due = str(details.get("predecessor_id")), read_moment(details.get("due_at"))
        if old != known.old:
            self._note(known)
            known.old = old
            known.tried.clear()
        if due is not None:
            changes = [known.changed, None if self._policy is None else self._policy[1]]
            later = [found for found in changes if found is not None and found.happened_at > due]
            changed = max(later, key=lambda found: found.happened_at, default=None)
            since = due if changed is None else changed.happened_at
            if (beyond := mark.happened_at - since) > LATE_AFTER:
                paused = known.paused if known.paused and (known.paused[1] or mark).happened_at > since else None
                causes = tuple(self._find_causes(event, since, mark, standing))
                proof = (changed, mark, beyond, causes, None if paused is None else paused[0], tuple(known.tried))
                known.late = Late(event.entry.subject, old, due, *proof)
        known.tried.append(mark.sequence)

    def _find_causes(self, event: AuditEvent, since: datetime, begun: Mark, standing: Iterable[Span]) -> Iterator[Span]:
        """Yield what lasted longest between, of what a rotation needs."""
        details, account = event.entry.details, str(event.entry.details.get("account"))
        places_ = (event.entry.subject, account, f"{account}/{details.get('organization')}", str(details.get("vault")))
        over = chain.from_iterable(self._over.get(place, ()) for place in ("", *places_))
        found = [(self._measure(span, since, begun), span) for span in (*over, *self._pick(standing, places_))]
        found.sort(key=lambda pair: (-pair[0], pair[1].begun.sequence))
        for lasted, span in found[:_MOST_CAUSES]:
            if lasted > timedelta(0):
                yield span

    def _pick(self, standing: Iterable[Span], places_: Iterable[str]) -> Iterator[Span]:
        return (span for span in standing if span.kind in EVERYWHERE or span.subject in places_)

    def _measure(self, span: Span, since: datetime, begun: Mark) -> timedelta:
        end = begun if span.ended is None else span.ended
        return min(end.happened_at, begun.happened_at) - max(span.begun.happened_at, since)

    def _note(self, known: _Known) -> None:
        late, known.late = known.late, None
        if late is None or late.since >= self._period.until or late.begun.happened_at < self._period.since:
            return
        self._found.late.add(late)
        self._found.late_beyond += late.beyond
