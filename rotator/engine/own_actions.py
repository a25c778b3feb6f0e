"""Our own mints and revocations, by our audit log: what Azure DevOps' own log should tell too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.events.administration import AdminRevocationRequested, AdminRevocationStarted
from rotator.domain.events.event import Event
from rotator.domain.events.revocations import PatRevoked, RevocationFailed, RevocationRequested, RevokeStarted
from rotator.domain.events.rotations import MintStarted, PatMinted
from rotator.domain.log_comparison import EARLY, LATE, OwnAction
from rotator.domain.service_log import EntryKind
from rotator.engine.auditing import load_events
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database, Reading

_EVENTS: tuple[type[Event], ...] = (
    MintStarted,
    PatMinted,
    RevokeStarted,
    RevocationRequested,
    RevocationFailed,
    PatRevoked,
    AdminRevocationStarted,
    AdminRevocationRequested,
)
_BY_ADMIN = (AdminRevocationStarted.type.name, AdminRevocationRequested.type.name)
_BEFORE = timedelta(hours=1)
"""How long before the period an action may have begun that took effect in it."""
_IDS = ("e2e_id", "activity_id")


@dataclass
class _Gathering:
    """The actions as the events so far tell them: mints by rotation, revocations by PAT."""

    mints: dict[str, OwnAction] = field(default_factory=dict)
    revocations: dict[str, OwnAction] = field(default_factory=dict)
    done: list[OwnAction] = field(default_factory=list)

    def take(self, event: AuditEvent) -> None:
        """Learn from one more event."""
        details = event.entry.details
        rotation, pat = str(details.get("rotation_id", "")), str(details.get("authorization_id") or "")
        name = event.entry.event
        if name == MintStarted.type.name:
            self.close_mint(rotation)
            planned = _read_moment(details.get("planned_valid_to"))
            self.mints[rotation] = replace(_begin(event, EntryKind.MINTED), valid_to=planned)
        elif name == PatMinted.type.name:
            begun = self.mints.pop(rotation, None) or _begin(event, EntryKind.MINTED)
            ended = replace(
                begun, is_certain=True, authorization_id=pat, valid_to=_read_moment(details.get("valid_to"))
            )
            self.done.append(_extend(ended, event))
        elif name in _BY_ADMIN:
            # Nobody knows what the PAT is called: an entry that names one is ours by the id of the answer alone.
            identifier = event.entry.subject
            begun = self.revocations.get(identifier) or _begin(event, EntryKind.REVOKED)
            ended = replace(begun, authorization_id=identifier, names=frozenset({identifier}), of_any_user=True)
            self.revocations[identifier] = _extend(ended, event)
        elif pat:
            begun = self.revocations.get(pat) or _begin(event, EntryKind.REVOKED)
            begun = replace(begun, authorization_id=pat)
            self.revocations[pat] = _extend(begun, event, is_proof=name == PatRevoked.type.name)

    def close_mint(self, rotation: str) -> None:
        """A mint without an answer stays a possible one."""
        begun = self.mints.pop(rotation, None)
        if begun is not None:
            self.done.append(begun)

    def list_all(self) -> Iterator[OwnAction]:
        """Yield all actions: what was begun and never answered may have taken effect."""
        yield from self.done
        yield from self.mints.values()
        yield from self.revocations.values()


def load_own_actions(database: Database, since: datetime, until: datetime) -> tuple[OwnAction, ...]:
    """Return what we did to PATs in a period and a little around it, in order, with the names that PATs may have."""
    gathering = _Gathering()
    span = AuditFilter(since=since - _BEFORE - LATE, until=until + EARLY)
    events = [event for kind in _EVENTS for event in load_events(database, replace(span, event=kind.type.name))]
    for event in sorted(events, key=lambda event: event.sequence):
        gathering.take(event)
    actions = sorted(gathering.list_all(), key=lambda action: action.number)
    with database.read() as reading:
        return tuple(_name_all(reading, actions))


def _begin(event: AuditEvent, kind: EntryKind) -> OwnAction:
    details, at = event.entry.details, event.occurred_at
    return OwnAction(
        kind=kind,
        number=event.sequence,
        account=str(details.get("account", "")),
        organization=str(details.get("organization", "")),
        name=event.entry.subject,
        began_at=at,
        ended_at=at,
        is_certain=False,
    )


def _extend(action: OwnAction, event: AuditEvent, *, is_proof: bool = False) -> OwnAction:
    """Return the action as one more event tells it. Proof that a PAT is gone comes later than what made it so."""
    found = {str(event.entry.details[name]).lower() for name in _IDS if event.entry.details.get(name)}
    return replace(
        action,
        ended_at=action.ended_at if is_proof else event.occurred_at,
        is_certain=action.is_certain or is_proof,
        answer_ids=action.answer_ids | found,
    )


def _read_moment(value: Detail) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value)).astimezone(UTC)


def _name_all(reading: Reading, actions: Sequence[OwnAction]) -> Iterator[OwnAction]:
    """Add the display names: those that the journal has of PATs that we made, else those of the record."""
    ids = {action.authorization_id for action in actions if action.authorization_id}
    made = {
        trace.new_authorization_id: trace.display_name
        for trace in reading.journal.load_traces(ids)
        if trace.new_authorization_id is not None
    }
    for action in actions:
        name = made.get(action.authorization_id or "")
        if name is None and action.kind is EntryKind.MINTED:
            yield replace(action, names=_list_names(reading, action.name))
        else:
            yield action if name is None else replace(action, names=frozenset({name}))


def _list_names(reading: Reading, name: str) -> frozenset[str]:
    records = reading.inventory.load_named([name])
    return frozenset(
        found for pat in records for found in (pat.display_name, pat.wanted_display_name) if found is not None
    )
