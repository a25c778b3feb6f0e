"""How long values were in use, and which PATs outlived their overlap: the log says both, whatever noticed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.events import inventory, revocations, rotations
from rotator.domain.pending_revocation import TELL_AFTER
from rotator.domain.period import Period
from rotator.engine.review.facts import LongestUse, Mark, Outlived, Values

_NEW_VALUE = frozenset(
    event.type.name for event in (inventory.PatAdopted, inventory.PatCreated, rotations.OverlapStarted)
)
_UNTIL = frozenset(event.type.name for event in (rotations.OverlapStarted, rotations.OverlapReleased))
_PLANNED = rotations.RotationPlanned.type.name
_GONE = revocations.PatRevoked.type.name
_OVER = frozenset(
    event.type.name
    for event in (
        rotations.PredecessorKept,
        rotations.PredecessorExpired,
        rotations.CloneLost,
        rotations.RotationCompleted,
        rotations.RotationAbandoned,
        rotations.RotationClosed,
    )
)
_LEAVING = frozenset(event.type.name for event in (inventory.PatForgotten, inventory.CreationDropped))


@dataclass
class _Overlap:
    """A rotation whose old PAT is valid for a while: which one, and the event that named the end of its time."""

    predecessor: str
    name: str = ""
    told: Mark | None = None
    until: datetime | None = None


class ValueFollower:
    """Follows the values of each managed PAT through the log, and adds what is of the period to `found`."""

    def __init__(self, found: Values, period: Period, now: datetime) -> None:
        self._found, self._period, self._now = found, period, now
        self._using: dict[str, Mark] = {}
        self._overlaps: dict[str, _Overlap] = {}

    def take(self, event: AuditEvent, mark: Mark) -> None:
        """Take the next event."""
        name, subject = event.entry.event, event.entry.subject
        if name in _NEW_VALUE:
            self._end_use(subject, mark)
            self._using[subject] = mark
        elif name in _LEAVING:
            self._end_use(subject, mark)
        self._follow_overlap(event, mark)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        if (using := self._using.pop(old, None)) is not None:
            self._using[new] = using
        if (uses := self._found.uses.pop(old, None)) is not None:
            self._found.uses[new] = uses
        for overlap in self._overlaps.values():
            overlap.name = new if overlap.name == old else overlap.name

    def finish(self) -> None:
        """Add what still lasts."""
        for name, begun in self._using.items():
            self._note_use(name, begun, None)
        for overlap in self._overlaps.values():
            self._note_outlived(overlap, None)

    def _end_use(self, name: str, mark: Mark) -> None:
        if (begun := self._using.pop(name, None)) is not None:
            self._note_use(name, begun, mark)

    def _note_use(self, name: str, begun: Mark, ended: Mark | None) -> None:
        known = self._found.uses.get(name)
        lasted = (ended.happened_at if ended else self._now) - begun.happened_at
        if self._touches(begun.happened_at, ended):
            count = known.count + 1 if known else 1
            if known is None or lasted > known.lasted:
                known = LongestUse(begun, ended, lasted)
            known.count = count
            self._found.uses[name] = known

    def _follow_overlap(self, event: AuditEvent, mark: Mark) -> None:
        entry = event.entry
        rotation, name = str(entry.details.get("rotation_id")), entry.event
        if name == _PLANNED and (predecessor := entry.details.get("predecessor_id")):
            self._overlaps[rotation] = _Overlap(str(predecessor))
        known = self._overlaps.get(rotation)
        if known is None:
            return
        if name in _UNTIL:
            known.name, known.told = entry.subject, mark
            known.until = _read_moment(entry.details.get("overlap_until"))
        elif name == _GONE and entry.details.get("authorization_id") == known.predecessor:
            self._note_outlived(self._overlaps.pop(rotation), mark)
        elif name in _OVER:
            del self._overlaps[rotation]

    def _note_outlived(self, overlap: _Overlap, gone: Mark | None) -> None:
        if overlap.told is None or overlap.until is None:
            return
        beyond = (gone.happened_at if gone else self._now) - overlap.until
        if beyond > TELL_AFTER and self._touches(overlap.until, gone):
            row = Outlived(overlap.name, overlap.predecessor, overlap.told, overlap.until, gone, beyond)
            self._found.outlived.add(row)
            self._found.beyond += beyond
            self._found.longest = max(self._found.longest or row, row, key=lambda each: each.beyond)

    def _touches(self, begins: datetime, ended: Mark | None) -> bool:
        return begins < self._period.until and (ended is None or ended.happened_at >= self._period.since)


def _read_moment(value: Detail) -> datetime | None:
    """Return a moment; None for what somebody may have put there who altered the log."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment
