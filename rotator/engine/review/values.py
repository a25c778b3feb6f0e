"""How long each value of a managed PAT was in use, as the log says."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events import inventory, rotations
from rotator.domain.period import Period
from rotator.engine.review.facts import LongestUse, Values
from rotator.engine.review.marks import Mark

_NEW_VALUE = frozenset(
    event.type.name for event in (inventory.PatAdopted, inventory.PatCreated, rotations.OverlapStarted)
)
_LEAVING = frozenset(event.type.name for event in (inventory.PatForgotten, inventory.CreationDropped))


class ValueFollower:
    """Follows the values of each managed PAT through the log, and adds what is of the period to `found`."""

    def __init__(self, found: Values, period: Period, now: datetime) -> None:
        self._found, self._period, self._now = found, period, now
        self._using: dict[str, Mark] = {}

    def take(self, event: AuditEvent, mark: Mark) -> None:
        """Take the next event."""
        name, subject = event.entry.event, event.entry.subject
        if name in _NEW_VALUE:
            self._end_use(subject, mark)
            self._using[subject] = mark
        elif name in _LEAVING:
            self._end_use(subject, mark)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        if (using := self._using.pop(old, None)) is not None:
            self._using[new] = using
        if (uses := self._found.uses.pop(old, None)) is not None:
            self._found.uses[new] = uses

    def finish(self) -> None:
        """Add what still lasts."""
        for name, begun in self._using.items():
            self._note_use(name, begun, None)

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

    def _touches(self, begins: datetime, ended: Mark | None) -> bool:
        return begins < self._period.until and (ended is None or ended.happened_at >= self._period.since)
