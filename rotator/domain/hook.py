"""Hooks: what is called when something happens, and what it is given. A call outlives the process that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.backoff import is_kept_from
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Severity, SubjectKind
from rotator.domain.managed_pat import Failure, ManagedPat, check_aware
from rotator.domain.rotation import Rotation

TEST = "test"
"""What `rotator hooks test` calls the event that it makes up."""


@dataclass(frozen=True)
class HookTerms:
    """When a hook is called: at which events, in the order of their names.

    `required`: an overlap does not begin before the hook has succeeded, called about the `secret_stored` before it.
    """

    name: str
    events: tuple[str, ...]
    required: bool = False


@dataclass(frozen=True)
class HookEvent:
    """What a hook is given. There is no secret in it; the fields of a ManagedPat are None where it is about none.

    `sequence` is the event's number in the audit log, None for a test. `authorization_id`, `secret_version` and
    `expires_at` are those of the PAT that the event is about: during a rotation the new one.
    """

    event: str
    severity: Severity
    subject: str
    occurred_at: datetime
    sequence: int | None = None
    name: str | None = None
    account: str | None = None
    organization: str | None = None
    authorization_id: str | None = None
    vault: str | None = None
    secret_name: str | None = None
    secret_version: str | None = None
    expires_at: datetime | None = None
    rotation_id: str | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_aware(self.occurred_at)


@dataclass(frozen=True)
class HookCall:
    """One call of a hook, until it succeeded. `id` stays the same however often it is made; `tries` counts failed ones.

    It is not made again before `retry_at`. `failure` says what came of it last. One that is set aside is not made any
    more. One that is done is kept until its rotation knows.
    """

    hook: str
    sequence: int
    id: str
    event: HookEvent
    made_at: datetime
    tries: int = 0
    retry_at: datetime | None = None
    failure: Failure | None = None
    set_aside_at: datetime | None = None
    done_at: datetime | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it is still to be made."""
        return self.set_aside_at is None and self.done_at is None

    def is_due(self, now: datetime, longest: timedelta) -> bool:
        """Whether it is to be made now; `longest` is the longest time between two tries."""
        return self.is_waiting and not is_kept_from(self.retry_at, now, longest=longest)


def is_about_pat(event: str) -> bool:
    """Whether the subject of events of that name is a ManagedPat."""
    return CATALOGUE[event].type.subject is SubjectKind.MANAGED_PAT


def make_hook_event(event: AuditEvent, pat: ManagedPat | None, rotation: Rotation | None) -> HookEvent:
    """Return what a hook is given about an event: as it says itself, else as its rotation, else as the record does."""
    entry, place = event.entry, rotation or pat
    said = {key: value for key, value in entry.details.items() if isinstance(value, str)}
    clone = rotation if rotation is not None and rotation.new_authorization_id else None
    held = pat if clone is None else None
    return HookEvent(
        event=entry.event,
        severity=CATALOGUE[entry.event].type.severity,
        subject=entry.subject,
        occurred_at=event.occurred_at,
        sequence=event.sequence,
        name=entry.subject if is_about_pat(entry.event) else None,
        account=said.get("account") or (place.account if place else None),
        organization=said.get("organization") or (place.organization if place else None),
        authorization_id=said.get("authorization_id")
        or (clone.new_authorization_id if clone else held.authorization_id if held else None)
        or None,
        vault=said.get("vault") or (place.vault if place else None),
        secret_name=said.get("secret_name") or (place.secret_name if place else None),
        secret_version=said.get("secret_version")
        or (clone.secret_version if clone else held.secret_version if held else None),
        expires_at=clone.new_valid_to if clone else held.as_ending().valid_to if held else None,
        rotation_id=said.get("rotation_id"),
        details=entry.details,
    )


def make_test_event(hook: str, now: datetime) -> HookEvent:
    """Return what `rotator hooks test` calls a hook with."""
    return HookEvent(event=TEST, severity=Severity.INFO, subject=hook, occurred_at=now)
