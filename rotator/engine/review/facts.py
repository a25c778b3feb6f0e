"""What a review says, as values. Numbers of events prove it: each is an event of the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.period import Period
from rotator.domain.policy import Policy
from rotator.domain.rotation import Rotation
from rotator.engine.anchoring import AnchorSight
from rotator.engine.left_behind import LeftBehind
from rotator.engine.log_checking import LogSummary
from rotator.engine.review.marks import Mark, Misdated, Span, SpanSum, Tally
from rotator.engine.review.newest import Greatest, Newest
from rotator.engine.review.outside import Outside
from rotator.engine.status import PatStatus
from rotator.errors import AuditChainError

MOST_NUMBERS = 20
"""How many numbers of events a row keeps: the newest."""
MOST_LONG = 20
"""How many of the longest failures a review keeps."""


@dataclass(frozen=True)
class Reach:
    """What an event says that a PAT reaches. None: it does not say that; earlier versions wrote down less."""

    scope: str | None = None
    organization: str | None = None
    all_organizations: bool | None = None


@dataclass
class PatTrail:
    """What the log says of one ManagedPat: when and by whom it came, when its reach and its value changed last.

    `told` is what the event of `reach` says of that.
    """

    managed: Mark | None = None
    brought_by: str | None = None
    reach: Mark | None = None
    told: Reach = Reach()
    rotated: Mark | None = None


@dataclass
class Asked:
    """The requests to revoke a PAT: the first one, and whether an answer says that any was accepted."""

    first: Mark
    is_accepted: bool = False


@dataclass
class RevocationTally:
    """The revocations of the PATs of one name: how many requests were accepted and how many proofs came.

    `unanswered` are proofs of PATs of which no request is known to be accepted. The slowest counts from the first one.
    """

    requested: int = 0
    proven: int = 0
    unanswered: int = 0
    slowest: timedelta | None = None
    slowest_proof: Mark | None = None
    proofs: Newest[int] = field(default_factory=lambda: Newest(MOST_NUMBERS))
    first: Mark | None = None
    last: Mark | None = None


class Fate(StrEnum):
    """What became of a rotation: `undone` if its new PAT was revoked again."""

    COMPLETED = auto()
    ABANDONED = auto()
    UNDONE = auto()
    OPEN = auto()


@dataclass
class EventTally:
    """How often something happened, and the first and the last time."""

    count: int
    first: int
    last: int


@dataclass
class Bucket:
    """A part of the period: how many rotations began, were completed and failed, how many PATs were proven revoked."""

    begins: datetime
    ends: datetime
    begun: int = 0
    completed: int = 0
    failed: int = 0
    revoked: int = 0
    first: int | None = None
    last: int | None = None


@dataclass
class HandRun:
    """A run of a person: what it began with, whom it was about, who did it and why, and the command as it was typed.

    `rotations` are the ids of those that it began, `gone` is when the last PAT that they replaced was proven gone,
    `gone_later` how many of these another rotation replaced, because this one ended before; `made` when the PAT
    existed that it began to create.
    """

    at: datetime
    event: str
    subject: str
    actor: str
    reason: str | None
    command: str | None
    events: int
    first: int
    last: int
    rotations: list[str] = field(default_factory=list)
    replaced: int = 0
    gone: Mark | None = None
    gone_count: int = 0
    gone_later: int = 0
    made: Mark | None = None


@dataclass
class OrderedRotation:
    """A rotation that a person ordered: its order, its first event, and what proved its end.

    `in_vault`: when its value was read back from the vault. `gone`: when `old_id`, which it replaces, was proven gone.
    `code`: why it was abandoned, `replaced`: when consumers got the value of another rotation that replaces `old_id`,
    or that made the PAT, if it was to be the first one.
    """

    rotation_id: str
    name: str
    run: HandRun
    planned: Mark
    old_id: str | None
    in_vault: Mark | None = None
    gone: Mark | None = None
    code: str | None = None
    replaced: Mark | None = None


@dataclass
class LongestUse:
    """The longest time that one value of a managed PAT was in use, and how many values there were.

    `ended` is None while it is in use.
    """

    begun: Mark
    ended: Mark | None
    lasted: timedelta
    count: int = 0


@dataclass(frozen=True)
class Outlived:
    """An old PAT that was valid longer than its overlap: the events that named its end, requested it and proved it.

    `restored`: when the overlap began again, because another value had been in the secret. `cause` is what was wrong
    for longest while the old PAT was there too long, of what its end needs.
    """

    name: str
    authorization_id: str
    told: Mark
    until: datetime
    asked: Asked | None
    gone: Mark | None
    beyond: timedelta
    restored: Mark | None = None
    cause: Span | None = None


@dataclass(frozen=True)
class Expired:
    """A PAT that had expired before consumers got a new value: the events that told its expiry and replaced it."""

    name: str
    authorization_id: str
    told: Mark
    until: datetime
    replaced: Mark
    beyond: timedelta


@dataclass(frozen=True)
class Late:
    """A rotation that began long after the policy asked for it: from `since` on, as far as the log can tell.

    `changed`: the last change of the policy, or of what is known of the PAT, if that was later than `due_at`: what was
    asked before is not known. `causes` are what was wrong meanwhile, of what it needs, the longest first. `paused`:
    when a person had paused the PAT. `tried`: the rotations of the same PAT that began before.
    """

    name: str
    authorization_id: str
    due_at: datetime
    changed: Mark | None
    begun: Mark
    beyond: timedelta
    causes: tuple[Span, ...]
    paused: Mark | None
    tried: tuple[int, ...]

    @property
    def since(self) -> datetime:
        """From when on it was late."""
        return self.due_at if self.changed is None else self.changed.happened_at


@dataclass
class Unseen:
    """A PAT whose value nobody ever got: when its end was begun, the request that it may come from, and its proof.

    `is_late`: Azure DevOps made it after rotator had gone on without it. `asked` is then the oldest that is possible.
    """

    name: str
    authorization_id: str
    noticed: Mark
    asked: Mark | None
    is_late: bool
    gone: Mark | None = None

    def measure(self, now: datetime) -> timedelta | None:
        """Return how long it was valid at most. None: the log cannot tell."""
        return None if self.asked is None else self.asked.measure(self.gone, now)


@dataclass
class Values:
    """How long values were in use, by managed PAT, and the old PATs that outlived their overlap, or expired before."""

    uses: dict[str, LongestUse] = field(default_factory=dict)
    outlived: Newest[Outlived] = field(default_factory=Newest)
    longest: Outlived | None = None
    beyond: timedelta = timedelta(0)
    """How long all of them were valid beyond their overlap, together."""
    expired: Newest[Expired] = field(default_factory=Newest)
    expired_beyond: timedelta = timedelta(0)
    """How long all of these had expired before consumers got a new value, together."""
    late: Newest[Late] = field(default_factory=Newest)
    late_beyond: timedelta = timedelta(0)
    """How late all of these began, together."""
    undated: int = 0
    """Rotations whose event does not say whether they were due: an earlier version of rotator wrote it."""


@dataclass(frozen=True)
class Silence:
    """The longest time in the period without any event, between two events or its ends."""

    begins: datetime
    ends: datetime
    after: int | None
    before: int | None


@dataclass
class Findings:
    """What the log says of the period. `total`: how many events the whole log has that can be read."""

    total: int = 0
    began: Mark | None = None
    events: int = 0
    first: int | None = None
    last: int | None = None
    trails: dict[str, PatTrail] = field(default_factory=dict)
    changes: Newest[AuditEvent] = field(default_factory=Newest)
    policy_before: AuditEvent | None = None
    policies: Newest[AuditEvent] = field(default_factory=Newest)
    policy_texts: dict[str, tuple[Mark, str]] = field(default_factory=dict)
    """By SHA-256: the first event that has the text of that policy, and the text."""
    exceptions: Newest[Span] = field(default_factory=Newest)
    failures: Newest[Span] = field(default_factory=Newest)
    longest_failures: Greatest[Span] = field(default_factory=lambda: Greatest(MOST_LONG))
    without_sign_in: Newest[Span] = field(default_factory=Newest)
    failed: dict[str, EventTally] = field(default_factory=dict)
    sign_ins: Newest[AuditEvent] = field(default_factory=Newest)
    by_hand: Newest[HandRun] = field(default_factory=Newest)
    ordered: Newest[OrderedRotation] = field(default_factory=Newest)
    revocations: dict[str, RevocationTally] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    """By authorization id: the requests to revoke it, while nothing proves that it is gone."""
    exception_sums: dict[tuple[str, str], SpanSum] = field(default_factory=dict)
    failure_sums: dict[tuple[str, str], SpanSum] = field(default_factory=dict)
    """By kind and cause."""
    sign_in_sums: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By event and account."""
    revoked: Newest[AuditEvent] = field(default_factory=Newest)
    unseen: Newest[Unseen] = field(default_factory=Newest)
    revoked_why: dict[str, Tally] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    """What became of each rotation that began in the period, by its id."""
    left: dict[str, Mark] = field(default_factory=dict)
    """By authorization id: the event that says that it was left behind, or kept."""
    timeline: list[Bucket] = field(default_factory=list)
    unread_ids: dict[tuple[str, str], Tally] = field(default_factory=dict)
    """By authorization id and account/organization: entries of lists that rotator did not understand."""
    failed_pats: set[str] = field(default_factory=set)
    """Whose rotation failed, was blocked, frozen or abandoned in the period, if only for a while."""
    excepted_pats: set[str] = field(default_factory=set)
    """What was not as its policy wants it, if only for a while."""
    anchored: Newest[AuditEvent] = field(default_factory=Newest)
    anchor_sums: dict[str, Tally] = field(default_factory=dict)
    """By place."""
    gaps: Newest[AuditEvent] = field(default_factory=Newest)
    outside: Outside = field(default_factory=Outside)
    values: Values = field(default_factory=Values)
    silence: Silence | None = None
    unreadable: Newest[int] = field(default_factory=Newest)
    misdated: Newest[Misdated] = field(default_factory=Newest)


class PolicyState(StrEnum):
    """What the log says of the current policy."""

    LOGGED = auto()
    CHANGED = auto()
    NEVER_LOGGED = auto()


@dataclass(frozen=True)
class LogState:
    """Whether the log is whole. `fault` is why not; `summary` is None then.

    `newest`: how far it is reviewed. `size` and `sealed_at` are of the newest checkpoint. `key_problem` is why
    signatures could not be checked. `public_keys` are those of the settings. `sight` is None if the vaults were not
    asked.
    """

    newest: int
    fault: AuditChainError | None
    summary: LogSummary | None
    checkpoints: int
    size: int
    signed: int
    sealed_at: datetime | None
    installation: str | None
    public_keys: tuple[str, ...]
    key_problem: str | None
    accepted: int
    sight: AnchorSight | None
    newest_checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Standing:
    """One ManagedPat as it is now, with what the log says of it, who owns it and which rule applies to it."""

    status: PatStatus
    record: ManagedPat
    owner: str | None
    trail: PatTrail
    rule: str | None


@dataclass(frozen=True)
class Review:
    """Everything that a reviewer's page says of a period, but for its words.

    `overlapping` are the rotations whose predecessor is still valid.
    """

    period: Period
    made_at: datetime
    log: LogState
    findings: Findings
    pats: tuple[Standing, ...]
    unmanaged: tuple[PatStatus, ...]
    policy: Policy
    policy_state: PolicyState
    pending: tuple[PendingRevocation, ...]
    left_behind: tuple[LeftBehind, ...]
    overlapping: tuple[Rotation, ...]
    organizations: tuple[str, ...] = ()
    """Those of the settings."""
    looked_at: datetime | None = None
    """When the last look at all PATs of the accounts ended that succeeded, as far as it is remembered."""
    checkpoints: int = 0
    """How many of the log's are of the period."""
