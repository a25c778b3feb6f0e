"""Something wrong that lasts: since when, and whether anybody was notified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum, auto

from rotator.domain.managed_pat import check_aware


class ConditionKind(StrEnum):
    """What is wrong. The catalogue of events says which event begins each, and which ones end it."""

    SIGN_IN_NEEDED = auto()
    ACCOUNT_DOWN = auto()
    ORGANIZATION_DOWN = auto()
    VAULT_DOWN = auto()
    ROTATION_FAILING = auto()
    ROTATION_BLOCKED = auto()
    PAT_VANISHED = auto()
    PAT_EXPIRING = auto()
    CLONES_ABANDONED = auto()
    LIFETIME_SHORTENED = auto()
    CLOCK_WRONG = auto()
    TIMELINE_CHANGED = auto()
    PAT_LEFT_BEHIND = auto()
    TOKEN_CACHE_DAMAGED = auto()
    TOKEN_CACHE_UNSAVED = auto()
    LISTING_DAMAGED = auto()
    REVOCATION_PENDING = auto()
    AUDIT_BROKEN = auto()
    ADOPTION_BLOCKED = auto()
    PROBE_FAILING = auto()
    RECEIVER_FAILING = auto()
    HOOK_FAILING = auto()
    JOB_STALLED = auto()
    DAEMONS_MIXED = auto()
    DATABASE_DOWN = auto()
    ALL_PAUSED = auto()


class VaultRequest(IntEnum):
    """What a vault is asked to do, by what hurts the more when it cannot.

    A value is read; a version that is there is changed, as its tags are before a mint; a new version is written.
    """

    READ = auto()
    CHANGE = auto()
    WRITE = auto()

    @property
    def word(self) -> str:
        """As events say it."""
        return self.name.lower()


@dataclass(frozen=True)
class Condition:
    """One thing that is wrong with one subject. `told_at` is when a person was last told of it, None if never.

    `code` is why, as the last event about it says; None where that event names no cause.
    """

    kind: ConditionKind
    subject: str
    since: datetime
    told_at: datetime | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        check_aware(self.since)
