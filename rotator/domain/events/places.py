"""What happens to the places that a run depends on: accounts, organizations, vaults, the token cache, the policy."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Detail, Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class SettingsChanged(Event, name="settings_changed", subject=SubjectKind.SETTING):
    """The settings, without secrets, are others than at the previous run of this user and host, by their SHA-256."""

    sha256: str
    previous: str | None = None


class PolicyChanged(Event, name="policy_changed", subject=SubjectKind.POLICY):
    """The policy is another one than at the previous run of this user and host, or its `text` was not told yet."""

    sha256: str
    previous: str | None
    text: str | None = None

    def make_line(self, subject: str) -> dict[str, Detail]:
        """Return the line of the log, which names the policy and leaves its text to the audit log."""
        line = super().make_line(subject)
        line.pop("text", None)
        return line


class LimitForgotten(Event, name="limit_forgotten", subject=SubjectKind.ORGANIZATION):
    """A person had rotator forget the longest lifetime that it saw granted to an account in an organization."""

    longest_seconds: int
    learned_at: datetime


class ClockDoubted(
    Event,
    name="clock_doubted",
    subject=SubjectKind.CLOCK,
    outcome=Outcome.UNKNOWN,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.CLOCK_WRONG,
):
    """The host's clock is so many `seconds` slow, so it mints and revokes nothing; or a service's clock is fast."""

    seconds: int | None


class ClockConfirmed(Event, name="clock_confirmed", subject=SubjectKind.CLOCK, ends=(ConditionKind.CLOCK_WRONG,)):
    """A clock that differed from the others agrees with them, or is no longer asked."""


class AuditBroken(
    Event,
    name="audit_broken",
    subject=SubjectKind.AUDIT_LOG,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.AUDIT_BROKEN,
):
    """An event of the audit log was altered, removed or moved since it was written: the first one is named."""

    sequence: int


class AuditVerified(Event, name="audit_verified", subject=SubjectKind.AUDIT_LOG, ends=(ConditionKind.AUDIT_BROKEN,)):
    """The hash chain of the audit log, which was broken, is intact again."""


class DatabaseLost(
    Event,
    name="database_lost",
    subject=SubjectKind.DATABASE,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.DATABASE_DOWN,
):
    """The daemon cannot use its database, so it rotates nothing; it keeps trying. Only the log reports this."""

    code: str
    message: str


class DatabaseRestored(
    Event, name="database_restored", subject=SubjectKind.DATABASE, ends=(ConditionKind.DATABASE_DOWN,)
):
    """The daemon can use its database again."""


class TimelineChanged(
    Event,
    name="timeline_changed",
    subject=SubjectKind.DATABASE,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    begins=ConditionKind.TIMELINE_CHANGED,
):
    """The server of the database was replaced or restored, so commits may be lost. `behind` records are out of date."""

    timeline: str
    previous: str
    behind: int
    unread: int


class TimelineReconciled(
    Event, name="timeline_reconciled", subject=SubjectKind.DATABASE, ends=(ConditionKind.TIMELINE_CHANGED,)
):
    """No record is older than its secret on this timeline of the database's server, or it is the first one seen."""

    timeline: str


class SignInStarted(Event, name="sign_in_started", subject=SubjectKind.ACCOUNT, outcome=Outcome.INTENDED):
    """A person begins to sign an account in."""

    method: str


class SignInRefused(
    Event,
    name="sign_in_refused",
    subject=SubjectKind.ACCOUNT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """A person's sign-in did not succeed."""

    method: str
    code: str


class SignInCompleted(
    Event, name="sign_in_completed", subject=SubjectKind.ACCOUNT, ends=(ConditionKind.SIGN_IN_NEEDED,)
):
    """A person signed an account in."""

    method: str
    username: str | None


class SignOutStarted(Event, name="sign_out_started", subject=SubjectKind.ACCOUNT, outcome=Outcome.INTENDED):
    """A person begins to sign an account out."""


class SignOutCompleted(Event, name="sign_out_completed", subject=SubjectKind.ACCOUNT):
    """An account's sign-in is forgotten."""

    was_signed_in: bool


class SignInLapsed(
    Event,
    name="sign_in_lapsed",
    subject=SubjectKind.ACCOUNT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.SIGN_IN_NEEDED,
    ends=(ConditionKind.ACCOUNT_DOWN,),
):
    """An account's sign-in no longer works; its PATs wait until a person signs it in. `pats`: only in logs."""

    code: str
    message: str = ""
    pats: str = ""


class SignInRestored(Event, name="sign_in_restored", subject=SubjectKind.ACCOUNT, ends=(ConditionKind.SIGN_IN_NEEDED,)):
    """An account's sign-in works again."""


class SignInEndForeseen(
    Event,
    name="sign_in_end_foreseen",
    subject=SubjectKind.ACCOUNT,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    needs_person=True,
):
    """An account's sign-in ends within `days` days, as an earlier one did, or because nothing refreshes it."""

    days: int
    ends_at: datetime


class AccountDown(
    Event,
    name="account_down",
    subject=SubjectKind.ACCOUNT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.ACCOUNT_DOWN,
):
    """An account cannot be used, although its sign-in was not refused; each run tries again. `pats`: only in logs."""

    code: str
    message: str = ""
    pats: str = ""


class RequestsDelayed(
    Event,
    name="requests_delayed",
    subject=SubjectKind.ACCOUNT,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """Azure DevOps asked to wait: `until` then nothing is sent for an account, and its PATs wait. Only in the log."""

    until: datetime


class ProbesDelayed(
    Event,
    name="probes_delayed",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """Azure DevOps asked to wait: `until` then no value of a PAT is tried in an organization. Only in the log."""

    until: datetime


class AccountRestored(Event, name="account_restored", subject=SubjectKind.ACCOUNT, ends=(ConditionKind.ACCOUNT_DOWN,)):
    """An account can be used again."""


class AccountDropped(
    Event,
    name="account_dropped",
    subject=SubjectKind.ACCOUNT,
    ends=(ConditionKind.ACCOUNT_DOWN, ConditionKind.SIGN_IN_NEEDED),
):
    """An account that was in trouble is no longer in the settings."""


class ListingDamaged(
    Event,
    name="listing_damaged",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.UNKNOWN,
    severity=Severity.WARNING,
    begins=ConditionKind.LISTING_DAMAGED,
):
    """Some entries in an account's list of PATs cannot be read; they are left alone, and never assumed to be gone."""

    entries: int
    authorization_ids: str


class ListingRepaired(
    Event, name="listing_repaired", subject=SubjectKind.ORGANIZATION, ends=(ConditionKind.LISTING_DAMAGED,)
):
    """Every entry in an account's list of PATs can be read again, or the list is no longer looked at."""


class OrganizationDown(
    Event,
    name="organization_down",
    subject=SubjectKind.ORGANIZATION,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.ORGANIZATION_DOWN,
):
    """An account could not list an organization's PATs, or `look` for one; a run tries again. `pats`: only in logs."""

    code: str
    message: str = ""
    asked_to: str = ""
    pats: str = ""


class OrganizationRestored(
    Event, name="organization_restored", subject=SubjectKind.ORGANIZATION, ends=(ConditionKind.ORGANIZATION_DOWN,)
):
    """An account can do again in an organization what it could not: list its PATs, or look for one."""


class OrganizationDropped(
    Event, name="organization_dropped", subject=SubjectKind.ORGANIZATION, ends=(ConditionKind.ORGANIZATION_DOWN,)
):
    """An organization that was in trouble no longer has any managed PAT."""


class VaultDown(
    Event,
    name="vault_down",
    subject=SubjectKind.VAULT,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.VAULT_DOWN,
):
    """A vault did not `read`, `change` or `write` as a run asked it to; each run tries again. `pats`: only in logs."""

    code: str
    message: str = ""
    asked_to: str = ""
    pats: str = ""


class VaultRestored(Event, name="vault_restored", subject=SubjectKind.VAULT, ends=(ConditionKind.VAULT_DOWN,)):
    """A vault that was down was seen to do again what it could not."""


class VaultDropped(Event, name="vault_dropped", subject=SubjectKind.VAULT, ends=(ConditionKind.VAULT_DOWN,)):
    """A vault that was in trouble no longer holds any managed PAT's value."""


class TokenCacheDamaged(
    Event,
    name="token_cache_damaged",
    subject=SubjectKind.TOKEN_CACHE,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
    begins=ConditionKind.TOKEN_CACHE_DAMAGED,
):
    """Neither the token cache nor its previous generation can be read: every account must sign in again."""

    damage: str


class TokenCacheRecovered(
    Event,
    name="token_cache_recovered",
    subject=SubjectKind.TOKEN_CACHE,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """The token cache could not be read; its previous generation is used."""

    damage: str


class TokenCacheRepaired(
    Event, name="token_cache_repaired", subject=SubjectKind.TOKEN_CACHE, ends=(ConditionKind.TOKEN_CACHE_DAMAGED,)
):
    """The token cache is intact again."""


class TokenCacheUnsaved(
    Event,
    name="token_cache_unsaved",
    subject=SubjectKind.TOKEN_CACHE,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.TOKEN_CACHE_UNSAVED,
):
    """Tokens that Entra gave cannot be written to the token cache. They are used from memory, and saved later."""

    message: str


class TokenCacheSaved(
    Event, name="token_cache_saved", subject=SubjectKind.TOKEN_CACHE, ends=[ConditionKind.TOKEN_CACHE_UNSAVED]
):
    """The token cache can be written again, and holds all tokens."""


class ScanStarted(Event, name="scan_started", subject=SubjectKind.ORGANIZATION):
    """A scan of an organization begins."""


class AnchorRead(Event, name="anchor_read", subject=SubjectKind.MANAGED_PAT):
    """The audit log's anchors in the tags of one secret are read."""


class ValuesRead(Event, name="values_read", subject=SubjectKind.VAULT):
    """A run, job or command read values of secrets: which versions of which, and of which managed PAT."""

    purpose: str
    reads: str


class SecretRead(Event, name="secret_read", subject=SubjectKind.SECRET):
    """One secret's tags are read for a rebuild."""
