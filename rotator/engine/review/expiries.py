"""Which PATs had expired before consumers got a new value: as far as the log says until when they were valid."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.events import inventory, rotations
from rotator.domain.period import Period
from rotator.engine.review.facts import Expired, Values
from rotator.engine.review.marks import Mark
from rotator.engine.review.overlaps import read_moment

_COMING = frozenset(event.type.name for event in (inventory.PatAdopted, inventory.PatTakenOver, inventory.PatCreated))
_PLANNED, _MINTED = rotations.RotationPlanned.type.name, rotations.PatMinted.type.name
_REPLACED = rotations.OverlapStarted.type.name
_TELLING = {inventory.PatDrifted.type.name: "valid_to", rotations.ExpiryForeseen.type.name: "expires_at"}
"""Events that tell until when the PAT of a name is valid, and the field that says so."""


class ExpiryFollower:
    """Follows each PAT of the inventory to its replacement, and adds to `found` which had expired by then."""

    def __init__(self, found: Values, period: Period) -> None:
        self._found, self._period = found, period
        self._known = dict[str, tuple[Detail, Mark]]()
        self._using, self._old, self._new = dict[str, str](), dict[str, str](), dict[str, str]()

    def take(self, event: AuditEvent, mark: Mark) -> None:
        """Take the next event."""
        name, subject, details = event.entry.event, event.entry.subject, event.entry.details
        rotation, identifier = str(details.get("rotation_id")), str(details.get("authorization_id"))
        if name == _MINTED:
            self._new[rotation] = identifier
            self._known[identifier] = details.get("valid_to"), mark
        elif name == _PLANNED:
            self._old[rotation] = str(details.get("predecessor_id"))
        elif name in _COMING:
            self._using[subject] = identifier
        elif (field := _TELLING.get(name)) is not None and subject in self._using:
            self._known[self._using[subject]] = details.get(field), mark
        elif name == _REPLACED:
            self._replace(subject, rotation, mark)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        if (identifier := self._using.pop(old, None)) is not None:
            self._using[new] = identifier

    def _replace(self, name: str, rotation: str, mark: Mark) -> None:
        old = self._old.pop(rotation, "")
        self._using[name] = self._new.pop(rotation, "")
        valid_to, told = self._known.pop(old, (None, None))
        until = read_moment(valid_to)
        if until is None or told is None or until >= self._period.until or mark.happened_at < self._period.since:
            return
        if (beyond := mark.happened_at - until) > timedelta(0):
            self._found.expired.add(Expired(name, old, told, until, mark, beyond))
            self._found.expired_beyond += beyond
