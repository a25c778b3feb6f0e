"""PATs whose value nobody ever got: Azure DevOps made them, and its answer was lost, or came to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events import inventory, revocations, rotations
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.period import Period
from rotator.engine.review.facts import Unseen
from rotator.engine.review.marks import Mark
from rotator.engine.review.newest import Newest
from rotator.engine.review.overlaps import read_moment

_MINTING, _STARTED = rotations.MintStarted.type.name, revocations.RevokeStarted.type.name
_ANSWERED = frozenset((rotations.PatMinted.type.name, inventory.PatCreated.type.name))
_GONE = revocations.PatRevoked.type.name


@dataclass
class _Request:
    """A request for a new PAT without an answer, and until when that PAT would be valid."""

    mark: Mark
    until: datetime | None


class UnseenFollower:
    """Follows each request for a new PAT, and adds to `found` those that came of it and that nobody could use.

    Which request one came from that was made late is not in the log: each is taken to be as old as can be, from the
    oldest request of that name of which no PAT is known yet, and whose PAT would still be valid.
    """

    def __init__(self, found: Newest[Unseen], period: Period) -> None:
        self._found, self._period = found, period
        self._open: dict[str, dict[str, _Request]] = {}
        self._unseen: dict[str, Unseen] = {}

    def take(self, event: AuditEvent, mark: Mark) -> None:
        """Take the next event."""
        name, details = event.entry.event, event.entry.details
        rotation, identifier = str(details.get("rotation_id")), details.get("authorization_id")
        requests = self._open.setdefault(event.entry.subject, {})
        if name == _MINTING:
            requests[rotation] = _Request(mark, read_moment(details.get("planned_valid_to")))
        elif name in _ANSWERED:
            requests.pop(rotation, None)
        elif name == _STARTED and identifier is not None and str(identifier) not in self._unseen:
            self._notice(str(identifier), event, mark, requests)
        elif name == _GONE and (unseen := self._unseen.pop(str(identifier), None)) is not None:
            unseen.gone = mark
            if mark.happened_at in self._period:
                self._found.add(unseen)

    def rename(self, old: str, new: str) -> None:
        """Give what is known of an old name to the new one."""
        if (requests := self._open.pop(old, None)) is not None:
            self._open[new] = requests

    def finish(self) -> None:
        """Add what is not gone."""
        for unseen in self._unseen.values():
            if unseen.noticed.happened_at < self._period.until:
                self._found.add(unseen)

    def _notice(self, identifier: str, event: AuditEvent, mark: Mark, requests: dict[str, _Request]) -> None:
        rotation = str(event.entry.details.get("rotation_id"))
        if event.entry.details.get("why") != RevocationKind.LATE:
            if (known := requests.pop(rotation, None)) is not None:
                self._unseen[identifier] = Unseen(event.entry.subject, identifier, mark, known.mark, is_late=False)
            return
        for key in [key for key, request in requests.items() if request.until and request.until < mark.happened_at]:
            del requests[key]
        oldest = next(iter(requests), None)
        known = None if oldest is None else requests[oldest]
        if oldest is not None and len(requests) == 1:
            del requests[oldest]
        asked = None if known is None else known.mark
        self._unseen[identifier] = Unseen(event.entry.subject, identifier, mark, asked, is_late=True)
