"""What happens to the inventory: PATs adopted, paused, changed or left behind."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind
from rotator.domain.events.rotations import HEALED

RENEWED = (*HEALED, ConditionKind.LIFETIME_SHORTENED)
"""The conditions that end when a record is gone, made anew, or left alone."""
GONE = (*RENEWED, ConditionKind.PROBE_FAILING, ConditionKind.PAT_EXPIRING)
"""Those that end when it is gone or made anew."""


class PatAdopted(Event, name="pat_adopted", subject=SubjectKind.MANAGED_PAT):
    """A PAT came under management; `secret_holds` says what its secret holds; the confirmed version may be replaced."""

    account: str
    organization: str
    authorization_id: str
    vault: str
    secret_name: str
    rule: str
    secret_holds: str | None = None
    confirmed_version: str | None = None
    scope: str | None = None
    all_organizations: bool | None = None


class PatTakenOver(Event, name="pat_taken_over", subject=SubjectKind.MANAGED_PAT):
    """A run brought a PAT under management because its rule says so; `secret_holds` is as for `pat_adopted`."""

    account: str
    organization: str
    authorization_id: str
    vault: str
    secret_name: str
    rule: str
    secret_holds: str | None = None
    scope: str | None = None
    all_organizations: bool | None = None


class AdoptionBlocked(
    Event,
    name="adoption_blocked",
    subject=SubjectKind.PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
    begins=ConditionKind.ADOPTION_BLOCKED,
):
    """A rule asks to take a PAT over, but something is in the way: a person must decide."""

    display_name: str
    rule: str
    code: str
    message: str


class AdoptionCleared(Event, name="adoption_cleared", subject=SubjectKind.PAT, ends=(ConditionKind.ADOPTION_BLOCKED,)):
    """A PAT no longer needs a person's decision: it is managed or gone, or no rule asks to take it over."""


class SecretConfirmed(Event, name="secret_confirmed", subject=SubjectKind.MANAGED_PAT):
    """A person looked at the secret of a managed PAT: the next rotation may replace this version, which is not ours."""

    secret_holds: str
    confirmed_version: str


class CreationStarted(Event, name="creation_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A person asked for a new PAT under management; its record is there, and the PAT is still to be made."""

    account: str
    organization: str
    scope: str
    valid_to: datetime
    vault: str
    secret_name: str
    rule: str


class CreationRefused(
    Event,
    name="creation_refused",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """A person asked for a new PAT under management and it was refused before anything was written or sent."""

    code: str
    message: str


class CreationDropped(
    Event,
    name="creation_dropped",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
    ends=HEALED,
):
    """The new PAT that a person asked for was refused: its record left the inventory, and no PAT of it lives."""

    code: str
    message: str


class PatCreated(Event, name="pat_created", subject=SubjectKind.MANAGED_PAT):
    """A PAT was created by rotator: its value was read back from the vault, and nobody has seen it."""

    authorization_id: str
    secret_version: str
    scope: str | None = None
    all_organizations: bool | None = None


class UpdateStarted(Event, name="update_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A person asked for another display name, other scopes or another lifetime; the next PAT is to have them."""

    display_name: str | None = None
    scope: str | None = None
    lifetime: str | None = None


class MoveStarted(Event, name="move_started", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A person asked to move a managed PAT to another account: its next PAT is to be made by that one."""

    to: str


class UpdateDropped(
    Event,
    name="update_dropped",
    subject=SubjectKind.MANAGED_PAT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """What a person wanted of the next PAT was refused or taken back: the managed PAT stays as it is."""

    code: str
    message: str


class PatUpdated(Event, name="pat_updated", subject=SubjectKind.MANAGED_PAT):
    """Consumers read a PAT with the display name, the scopes and the lifetime that a person wanted."""

    display_name: str
    scope: str
    valid_to: datetime
    all_organizations: bool | None = None


class PatMoved(Event, name="pat_moved", subject=SubjectKind.MANAGED_PAT):
    """Consumers read a PAT of the account that a person moved it to; the old PAT belongs to the one `before`."""

    before: str
    scope: str | None = None
    all_organizations: bool | None = None


class PatPaused(Event, name="pat_paused", subject=SubjectKind.MANAGED_PAT, ends=RENEWED):
    """A person stopped the rotation of a managed PAT; nothing more is tried, so nothing is failing."""


class PatResumed(Event, name="pat_resumed", subject=SubjectKind.MANAGED_PAT, ends=HEALED):
    """A person asked to rotate a managed PAT again; what failed before is forgotten."""


class AllPaused(
    Event,
    name="all_paused",
    subject=SubjectKind.INVENTORY,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
    begins=ConditionKind.ALL_PAUSED,
):
    """A person paused everything: runs neither rotate nor revoke, even if a PAT expires, until a person resumes all."""


class AllResumed(Event, name="all_resumed", subject=SubjectKind.INVENTORY, ends=(ConditionKind.ALL_PAUSED,)):
    """A person ended the pause of everything; PATs that were paused by name stay paused."""


class PatRenamed(Event, name="pat_renamed", subject=SubjectKind.MANAGED_PAT):
    """A managed PAT has another name in rotator; this is reported under both names. Its secret keeps its name."""

    old_name: str
    new_name: str


class PatForgotten(Event, name="pat_forgotten", subject=SubjectKind.MANAGED_PAT, ends=GONE):
    """A managed PAT left the inventory; the PAT and its secret stay as they are."""

    authorization_id: str
    vault: str | None = None
    secret_name: str | None = None


class PatDropped(Event, name="pat_dropped", subject=SubjectKind.MANAGED_PAT, ends=GONE):
    """A managed PAT that was failing or blocked is no longer in the inventory."""


class PatDrifted(Event, name="pat_drifted", subject=SubjectKind.MANAGED_PAT):
    """Somebody changed a PAT on the server; the inventory now matches."""

    display_name: str
    scope: str
    valid_to: datetime
    all_organizations: bool | None = None


class PatUnlisted(Event, name="pat_unlisted", subject=SubjectKind.MANAGED_PAT):
    """A list lacks a managed PAT that is not due. That alone proves nothing: it is looked for again."""

    authorization_id: str
    message: str


class PatReappeared(
    Event,
    name="pat_reappeared",
    subject=SubjectKind.MANAGED_PAT,
    ends=tuple(kind for kind in HEALED if kind is not ConditionKind.ROTATION_BLOCKED),
):
    """The server lists a PAT that it did not list before: it lives, and earlier warnings about it no longer hold."""

    authorization_id: str


class InventoryRebuilt(Event, name="inventory_rebuilt", subject=SubjectKind.MANAGED_PAT, ends=GONE):
    """A record was rebuilt from the vault's tags and the server's list; `before` is the PAT that it named before."""

    authorization_id: str
    before: str | None
    scope: str | None = None
    all_organizations: bool | None = None


class PatLeftBehind(
    Event,
    name="pat_left_behind",
    subject=SubjectKind.PAT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
    begins=ConditionKind.PAT_LEFT_BEHIND,
):
    """A closed rotation left a PAT alive; a person must decide whether to revoke it."""

    name: str
    kind: str


class LeftBehindResolved(
    Event, name="left_behind_resolved", subject=SubjectKind.PAT, ends=(ConditionKind.PAT_LEFT_BEHIND,)
):
    """A PAT that was left behind is gone, managed now, or to be revoked because a person says so."""
