"""What happens during one rotation. The subject is the managed PAT.

The audit log adds `account`, `organization` and, where there is a rotation, `rotation_id`.
"""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind

HEALED = (
    ConditionKind.ROTATION_FAILING,
    ConditionKind.ROTATION_BLOCKED,
    ConditionKind.PAT_VANISHED,
    ConditionKind.CLONES_ABANDONED,
)
"""The conditions that end when nothing is wrong with a managed PAT."""


class RotationPlanned(Event, name="rotation_planned", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A rotation begins, due since `due_at` if it was; nothing is sent. `despite`: what did not hold it back."""

    predecessor_id: str | None = None
    due_at: datetime | None  # what earlier versions wrote has no such field
    rule: str
    vault: str
    secret_name: str
    despite: str | None = None


class MintStarted(Event, name="mint_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """The request for a new PAT is about to be sent, once."""

    planned_valid_to: datetime


class MintUnanswered(
    Event,
    name="mint_unanswered",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The answer to the request for a new PAT was lost; later runs check whether the PAT exists, and revoke it."""

    code: str


class MintAnswerDoubted(
    Event,
    name="mint_answer_doubted",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The answer to a mint names a PAT that is not proven to be the new one; nothing is revoked because of it."""

    authorization_id: str
    doubt: str


class PatMinted(Event, name="pat_minted", subject=SubjectKind.MANAGED_PAT):
    """Azure DevOps created the new PAT."""

    authorization_id: str
    valid_to: datetime
    scope: str | None = None
    all_organizations: bool | None = None


class PatVerified(Event, name="pat_verified", subject=SubjectKind.MANAGED_PAT):
    """The new PAT authenticates as the expected user."""


class StoreStarted(Event, name="store_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """The new value is about to be written to the vault."""

    vault: str
    secret_name: str


class SecretTagsDropped(
    Event,
    name="secret_tags_dropped",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """The new version of the secret has no room for some tags that others had set on the previous one."""

    tags: str


class SecretStored(Event, name="secret_stored", subject=SubjectKind.MANAGED_PAT):
    """The vault holds the new value."""

    secret_version: str


class SecretWriteIgnored(
    Event,
    name="secret_write_ignored",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The vault reported a write as done but does not have the version; the value is written again."""

    secret_version: str


class OverlapStarted(
    Event, name="overlap_started", subject=SubjectKind.MANAGED_PAT, ends=(*HEALED, ConditionKind.PAT_EXPIRING)
):
    """The new value was read back and is what consumers read; the old PAT stays valid until the overlap ends."""

    overlap_until: datetime


class OverlapReleased(Event, name="overlap_released", subject=SubjectKind.MANAGED_PAT):
    """The hooks that must succeed have succeeded, or are not required any more, so the overlap begins now."""

    overlap_until: datetime


class HooksOverruled(Event, name="hooks_overruled", subject=SubjectKind.MANAGED_PAT):
    """A person has the old PAT revoked although these hooks, which must succeed, have not."""

    hooks: str


class SecretVersionDisabled(Event, name="secret_version_disabled", subject=SubjectKind.MANAGED_PAT):
    """An older version of the secret is disabled, as the rule asks."""

    secret_version: str


class RotationCompleted(Event, name="rotation_completed", subject=SubjectKind.MANAGED_PAT, ends=HEALED):
    """The rotation is closed: the old PAT was revoked or kept, or there was none."""


class PredecessorKept(Event, name="predecessor_kept", subject=SubjectKind.MANAGED_PAT):
    """The old PAT is left behind: a rule took it over, it seems to be gone, it cannot be revoked, or it is in use."""

    authorization_id: str
    cannot_work: str | None = None
    read_in: str | None = None


class PredecessorExpired(Event, name="predecessor_expired", subject=SubjectKind.MANAGED_PAT):
    """The old PAT has expired: the overlap is over, and nothing is revoked."""

    authorization_id: str


class RotationAbandoned(
    Event,
    name="rotation_abandoned",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """A rotation was closed before a new PAT existed; it is tried again. What failed is reported separately."""

    code: str

    @property
    def log_severity(self) -> Severity:
        """Its failure is reported, of its managed PAT or of a place; only that the rotation is over is not."""
        return Severity.INFO


class RotationFailed(
    Event,
    name="rotation_failed",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
    begins=ConditionKind.ROTATION_FAILING,
    ends=(ConditionKind.ROTATION_BLOCKED,),
):
    """Something went wrong with a managed PAT; it is tried again. `down` is the account, organization or vault why."""

    code: str
    message: str
    down: str = ""

    @property
    def log_severity(self) -> Severity | None:
        """None while a place is down, of which its own event tells."""
        return None if self.down else self.type.severity


class RotationClosed(
    Event,
    name="rotation_closed",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
    needs_person=True,
):
    """A rotation was closed in its `state` because its managed PAT left the inventory; nothing was revoked."""

    code: str
    state: str


class RotationBlocked(
    Event,
    name="rotation_blocked",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.ROTATION_BLOCKED,
    ends=(ConditionKind.ROTATION_FAILING,),
):
    """A managed PAT cannot be rotated until a person does what the failure's fix says."""

    code: str
    message: str


class RotationFrozen(
    Event,
    name="rotation_frozen",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.ROTATION_BLOCKED,
    ends=(ConditionKind.ROTATION_FAILING,),
):
    """The vault contradicts our records, so nothing was revoked; a person must find out who wrote the secret."""

    code: str
    message: str


class PatVanished(
    Event,
    name="pat_vanished",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.PAT_VANISHED,
    ends=(ConditionKind.ROTATION_FAILING, ConditionKind.ROTATION_BLOCKED),
):
    """A managed PAT is gone before its time, and rotator did not revoke it: it may have leaked."""

    code: str
    message: str


class VanishedPatReplaced(
    Event,
    name="vanished_pat_replaced",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.ERROR,
    needs_person=True,
):
    """A PAT that vanished before its time was replaced immediately, as its rule says; a person must find out why."""

    predecessor_id: str


class ExpiryForeseen(
    Event,
    name="expiry_foreseen",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.PAT_EXPIRING,
):
    """A managed PAT is near its expiry and cannot be rotated, as `code` says; or its rule leaves that to a person."""

    code: str
    expires_at: datetime


class ExpiryAverted(Event, name="expiry_averted", subject=SubjectKind.MANAGED_PAT, ends=(ConditionKind.PAT_EXPIRING,)):
    """Nothing stands in the way of rotating a managed PAT that is near its expiry, or nobody wants it rotated."""


class CloneLost(
    Event,
    name="clone_lost",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """Somebody revoked the new PAT during the overlap; the old PAT, if still valid, is current again."""

    code: str


class ClonesAbandoned(
    Event,
    name="clones_abandoned",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.CLONES_ABANDONED,
):
    """`count` new PATs were minted and given up within a day without a known cause; further attempts wait longer."""

    count: int
    code: str


class LifetimeShortened(
    Event,
    name="lifetime_shortened",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.LIFETIME_SHORTENED,
):
    """A PAT near its expiry was replaced by one with a shorter life than its rule asks for, due at two thirds of it."""

    valid_to: datetime


class LifetimeRestored(
    Event, name="lifetime_restored", subject=SubjectKind.MANAGED_PAT, ends=(ConditionKind.LIFETIME_SHORTENED,)
):
    """A PAT lives as long as its rule asks for again, or is no longer rotated."""


class SettlingContinued(Event, name="settling_continued", subject=SubjectKind.MANAGED_PAT):
    """A request whose answer was lost may still take effect; the rotation waits until it no longer can."""

    state: str


class UnprovenMintFound(
    Event,
    name="unproven_mint_found",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """PATs look like a mint of ours whose answer was lost, but nothing proves it; they are left alone."""

    authorization_ids: str


class UnknownIntentFound(
    Event,
    name="unknown_intent_found",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
):
    """The vault names a rotation that the database does not know; the PAT that it may have made is looked for."""

    lost_rotation_id: str
    planned_valid_to: datetime


class RestoreStarted(Event, name="restore_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A late write replaced the current value in the vault; the current value is about to be written again."""

    late_version: str
    committed_version: str


class SecretRestored(Event, name="secret_restored", subject=SubjectKind.MANAGED_PAT):
    """The vault holds the current value again."""

    secret_version: str


class FailureCleared(Event, name="failure_cleared", subject=SubjectKind.MANAGED_PAT, ends=HEALED):
    """Nothing stands in the way of a managed PAT now, or nothing is to be done for it: what failed is past."""
