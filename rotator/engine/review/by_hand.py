"""What people had rotator do in the period, and what became of it, whenever that was."""

from __future__ import annotations

from collections import OrderedDict

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events import anchors, inventory, places, revocations, rotations
from rotator.domain.pending_revocation import RevocationKind
from rotator.engine.review.facts import Findings, HandRun, OrderedRotation
from rotator.engine.review.marks import Mark
from rotator.engine.review.newest import MOST_ROWS

BY_HAND = frozenset(
    event.type.name
    for event in (
        inventory.PatAdopted,
        inventory.SecretConfirmed,
        inventory.CreationStarted,
        inventory.CreationRefused,
        inventory.UpdateStarted,
        inventory.PatPaused,
        inventory.PatResumed,
        inventory.PatRenamed,
        inventory.PatForgotten,
        inventory.InventoryRebuilt,
        places.LimitForgotten,
        rotations.HooksOverruled,
        anchors.GapAccepted,
    )
)
"""What only a person does. Anything else is one's too if it has a command or a reason, or a revocation says so."""
_POLICY_CHANGED = places.PolicyChanged.type.name
_CREATING, _CREATED = inventory.CreationStarted.type.name, inventory.PatCreated.type.name
_PLANNED = rotations.RotationPlanned.type.name
_IN_VAULT = frozenset((rotations.OverlapStarted.type.name, _CREATED))
_ABANDONED = rotations.RotationAbandoned.type.name
_GONE = revocations.PatRevoked.type.name


class HandFollower:
    """Follows what people ordered, and adds it to `found`."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._runs: OrderedDict[str, HandRun] = OrderedDict()
        self._creating = dict[str, HandRun]()
        self._ordered = dict[str, OrderedRotation]()
        self._replacing = dict[str, OrderedRotation]()
        self._later = dict[str, OrderedRotation]()
        self._first = dict[str, OrderedRotation]()

    def take(self, event: AuditEvent, mark: Mark, *, is_in_period: bool) -> None:
        """Take the next event."""
        entry = event.entry
        if is_in_period:
            self._note(event, mark)
        if entry.event == _CREATED and (run := self._creating.pop(entry.subject, None)) is not None:
            run.made = mark
        if entry.event == _CREATED:
            self._make_later(entry.subject, str(entry.details.get("rotation_id")), mark)
        self._follow(event, mark, str(entry.details.get("rotation_id")))
        if entry.event == _GONE:
            self._end(str(entry.details.get("authorization_id")), mark)

    def _follow(self, event: AuditEvent, mark: Mark, identifier: str) -> None:
        """Follow a rotation that was ordered, or one that replaces what that was to replace."""
        name, details = event.entry.event, event.entry.details
        if name == _PLANNED and identifier not in self._ordered:
            if (known := self._replacing.get(str(details.get("predecessor_id")))) is not None:
                self._later[identifier] = known
        elif name == _ABANDONED and (ordered := self._ordered.get(identifier)) is not None:
            ordered.code = str(details["code"]) if "code" in details else None
        elif name in _IN_VAULT and (ordered := self._ordered.get(identifier)) is not None:
            ordered.in_vault = mark
        elif name in _IN_VAULT and (known := self._later.pop(identifier, None)) is not None:
            known.replaced = known.replaced or mark

    def _make_later(self, name: str, identifier: str, mark: Mark) -> None:
        """Note that another rotation made the PAT that was ordered."""
        known = self._first.pop(name, None)
        if known is not None and known.rotation_id != identifier:
            known.replaced = mark

    def _end(self, identifier: str, mark: Mark) -> None:
        if (rotation := self._replacing.pop(identifier, None)) is not None:
            rotation.gone, run = mark, rotation.run
            run.gone, run.gone_count = mark, run.gone_count + 1
            run.gone_later += rotation.in_vault is None

    def _note(self, event: AuditEvent, mark: Mark) -> None:
        entry = event.entry
        known = self._runs.get(entry.run_id)
        reason, command = (
            None if (value := entry.details.get(name)) is None else str(value) for name in ("reason", "command")
        )
        by_hand = entry.event in BY_HAND or entry.details.get("why") == RevocationKind.BY_HAND
        if known is not None:
            known.events, known.last = known.events + 1, event.sequence
            if known.event == _POLICY_CHANGED:  # the run noticed that before it began its work
                known.event, known.subject = entry.event, entry.subject
        elif by_hand or reason is not None or command is not None:
            number = event.sequence
            known = HandRun(
                event.occurred_at, entry.event, entry.subject, entry.actor, reason, command, 1, number, number
            )
            self._runs[entry.run_id] = known
            self._found.by_hand.add(known)
            if len(self._runs) > MOST_ROWS:
                self._runs.popitem(last=False)
        if known is not None and entry.event == _CREATING:
            self._creating[entry.subject] = known
        if known is not None and entry.event == _PLANNED:
            self._note_rotation(event, mark, known)

    def _note_rotation(self, event: AuditEvent, mark: Mark, run: HandRun) -> None:
        identifier, old = (event.entry.details.get(name) for name in ("rotation_id", "predecessor_id"))
        rotation = OrderedRotation(str(identifier), event.entry.subject, run, mark, str(old) if old else None)
        self._found.ordered.add(rotation)
        self._ordered[rotation.rotation_id] = rotation
        run.rotations.append(rotation.rotation_id)
        if rotation.old_id is None:
            self._first[rotation.name] = rotation
        else:
            run.replaced += 1
            self._replacing[rotation.old_id] = rotation
