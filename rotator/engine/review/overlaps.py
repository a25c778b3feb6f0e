"""Which old PATs outlived their overlap, from the end that the log named to the proof that they were gone, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.condition import ConditionKind
from rotator.domain.events import revocations, rotations
from rotator.domain.pending_revocation import TELL_AFTER
from rotator.domain.period import Period
from rotator.engine.review.facts import Asked, Outlived, Values
from rotator.engine.review.marks import Mark, Span

_UNTIL = frozenset(event.type.name for event in (rotations.OverlapStarted, rotations.OverlapReleased))
_PLANNED = rotations.RotationPlanned.type.name
_GONE = revocations.PatRevoked.type.name
_DROPPED = revocations.RevocationDropped.type.name
_RESTORED = rotations.SecretRestored.type.name
_COMPLETED = rotations.RotationCompleted.type.name
_OVER = frozenset(
    event.type.name
    for event in (
        rotations.PredecessorKept,
        rotations.PredecessorExpired,
        rotations.CloneLost,
        rotations.RotationAbandoned,
        rotations.RotationClosed,
    )
)
EVERYWHERE = frozenset({ConditionKind.CLOCK_WRONG, ConditionKind.ALL_PAUSED, ConditionKind.DATABASE_DOWN})
"""What holds rotations and revocations back whatever it is about."""


@dataclass
class _Overlap:
    """A rotation whose old PAT is valid for a while: what it needs to be revoked, and who named the end of its time.

    `held` is how long its cause lasted within the time that was too long.
    """

    name: str
    vault: str
    account: str = ""
    organization: str = ""
    told: Mark | None = None
    until: datetime | None = None
    restored: Mark | None = None
    cause: Span | None = None
    held: timedelta = timedelta(0)

    def needs(self, span: Span) -> bool:
        """Whether the old PAT could perhaps not be revoked, or seen gone, while that lasted."""
        subjects = {self.name, self.account, f"{self.account}/{self.organization}", self.vault}
        return span.kind in EVERYWHERE or span.subject in subjects

    def blame(self, span: Span, end: datetime) -> None:
        """Take something as the cause if it lasted longer, after the overlap, than what is known so far."""
        if self.until is not None and self.needs(span):
            held = end - max(self.until, span.begun.happened_at)
            if held > self.held:
                self.cause, self.held = span, held


class OverlapFollower:
    """Follows each old PAT to its proof. A rotation is completed once its revocation was requested: that is no proof.

    `asked`: the requests to revoke a PAT, by its id, while nothing proves that it is gone.
    """

    def __init__(self, found: Values, asked: Mapping[str, Asked], period: Period, now: datetime) -> None:
        self._found, self._asked, self._period, self._now = found, asked, period, now
        self._old: dict[str, str] = {}
        self._overlaps: dict[str, _Overlap] = {}

    def take(self, event: AuditEvent, mark: Mark, standing: Iterable[Span]) -> None:
        """Take the next event. `standing` is what is wrong now."""
        details, name = event.entry.details, event.entry.event
        rotation, identifier = str(details.get("rotation_id")), str(details.get("authorization_id"))
        if name == _PLANNED and (predecessor := details.get("predecessor_id")):
            self._old[rotation] = str(predecessor)
            self._overlaps[str(predecessor)] = _Overlap(event.entry.subject, str(details.get("vault")))
        elif name == _GONE and (gone := self._overlaps.pop(identifier, None)) is not None:
            self._note(identifier, gone, mark, standing)
        elif name == _DROPPED:
            self._overlaps.pop(identifier, None)
        elif (old := self._old.get(rotation)) is not None:
            self._follow(event, mark, rotation, old)

    def take_span(self, span: Span, ended: datetime) -> None:
        """Take something wrong that ended."""
        for overlap in self._overlaps.values():
            overlap.blame(span, ended)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        for overlap in self._overlaps.values():
            overlap.name = new if overlap.name == old else overlap.name

    def finish(self, standing: Iterable[Span]) -> None:
        """Add what still lasts."""
        lasting = tuple(standing)
        for identifier, overlap in self._overlaps.items():
            self._note(identifier, overlap, None, lasting)

    def _follow(self, event: AuditEvent, mark: Mark, rotation: str, old: str) -> None:
        name, known = event.entry.event, self._overlaps.get(old)
        if name in _OVER or (name == _COMPLETED and old not in self._asked):  # nothing is to be revoked
            del self._old[rotation]
            self._overlaps.pop(old, None)
        elif known is not None and name in _UNTIL:
            details = event.entry.details
            known.name, known.told, known.until = event.entry.subject, mark, read_moment(details.get("overlap_until"))
            known.account, known.organization = str(details.get("account")), str(details.get("organization"))
        elif known is not None and name == _RESTORED and known.told is not None and old not in self._asked:
            known.restored = mark

    def _note(self, identifier: str, overlap: _Overlap, gone: Mark | None, standing: Iterable[Span]) -> None:
        if overlap.told is None or overlap.until is None:
            return
        end = gone.happened_at if gone else self._now
        beyond = end - overlap.until
        if beyond > TELL_AFTER and self._touches(overlap.until, gone):
            for span in standing:
                overlap.blame(span, end)
            asked, until = self._asked.get(identifier), overlap.until
            proof = (overlap.told, until, asked, gone)
            row = Outlived(overlap.name, identifier, *proof, beyond, overlap.restored, overlap.cause)
            self._found.outlived.add(row)
            self._found.beyond += beyond
            self._found.longest = max(self._found.longest or row, row, key=lambda each: each.beyond)

    def _touches(self, begins: datetime, ended: Mark | None) -> bool:
        return begins < self._period.until and (ended is None or ended.happened_at >= self._period.since)


def read_moment(value: Detail) -> datetime | None:
    """Return a moment; None for what somebody may have put there who altered the log."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment
