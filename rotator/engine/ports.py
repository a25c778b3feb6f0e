"""What the engine needs from the outside, named by role. Adapters implement these; errors are of `rotator.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, Self

from rotator.domain.account import Identity
from rotator.domain.audit_event import AuditEntry, AuditEvent
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.rotation import Rotation
from rotator.domain.secret_value import SecretValue


class Clock(Protocol):
    """Time as the engine sees it; tests advance it."""

    def now(self) -> datetime:
        """The current moment, aware, UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""


class Entropy(Protocol):
    """Randomness, so that a run can be repeated exactly in a simulation."""

    def make_id(self) -> str:
        """A new unique id: 32 hex digits."""

    def pick(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""


@dataclass(frozen=True)
class SignInStatus:
    """Who is signed in for an account. Times are None when not known; `username` None when nobody is."""

    account: str
    username: str | None
    access_expires_at: datetime | None = None
    refreshed_at: datetime | None = None


class SignIn(Protocol):
    """The user-delegated Entra sign-ins."""

    def refresh(self, account: str) -> SignInStatus:
        """Make sure that an access token with some minutes left can be had, silently.

        Raises SignInRequiredError when a human must act, TransientError when Entra cannot be asked now.
        """


class PatFilter(StrEnum):
    """Which PATs a listing shows: the API's own words."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ALL = "all"


@dataclass(frozen=True)
class MintedPat:
    """What a mint answered: the metadata and, this once, the value (None if the service left it out)."""

    pat: Pat
    value: SecretValue | None


class PatService(Protocol):
    """Azure DevOps, as far as PATs go. `account` is our account's name.

    Every method may raise SignInRequiredError, DeniedError, RejectedError and TransientError; the mutating ones
    raise UnknownOutcomeError when the request was sent and its answer is lost or makes no sense.
    """

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """Who the account's sign-in is in the organization."""

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> tuple[Pat, ...]:
        """All pages of the list, or an error: never a part. May hold PATs of other organizations."""

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """One PAT's metadata, None if the service does not know the id."""

    def mint(self, account: str, organization: str, *, display_name: str, scope: str, valid_to: datetime) -> MintedPat:
        """Create a PAT for this organization alone. Sent at most once. The answer's `valid_to` is the truth."""

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """Who the PAT authenticates as. VerificationError if nobody; TransientError if it could not be asked."""

    def revoke(self, account: str, organization: str, authorization_id: str) -> None:
        """Delete a PAT; returning means gone, already gone included."""


@dataclass(frozen=True)
class SecretLocation:
    """A secret's place: the vault's https address and the secret's name; `account` whose sign-in may be needed."""

    vault: str
    name: str
    account: str

    @classmethod
    def of(cls, pat: ManagedPat) -> Self:
        """Where a ManagedPat's value goes."""
        return cls(pat.vault, pat.secret_name, pat.account)


@dataclass(frozen=True)
class SecretVersion:
    """One version of a secret, without its value."""

    version: str
    tags: dict[str, str]
    enabled: bool
    created_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True)
class StoredSecret:
    """One version of a secret with its value."""

    version: SecretVersion
    value: SecretValue


class SecretStore(Protocol):
    """Where consumers read the current value: Azure Key Vault.

    Every method may raise DeniedError, RejectedError and TransientError; `store` raises UnknownOutcomeError when
    the write may have happened.
    """

    def check_writable(self, location: SecretLocation, intent: dict[str, str]) -> SecretVersion | None:
        """Prove that a write would be accepted, by merging `intent` into the tags of the newest version.

        Returns that version as it was before, None when there is no secret yet.

        A missing secret, with permission to create it, is fine. A soft-deleted name, a missing permission, a
        firewall raise RejectedError or DeniedError, each with its fix.
        """

    def fetch_names(self, vault: str, account: str, tag: str) -> tuple[str, ...]:
        """The names of the vault's secrets whose newest version carries a tag of that name, sorted."""

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """The newest enabled version, as a consumer would read it; None if there is none."""

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """One version with its value; None if there is no such version."""

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """All versions, the newest first; empty when there is no such secret."""

    def store(self, location: SecretLocation, value: SecretValue, *, expires_at: datetime, tags: dict[str, str]) -> str:
        """Write a new version, sent at most once; its version id."""

    def disable(self, location: SecretLocation, version: str) -> None:
        """Make one version unreadable; already disabled is fine."""


@dataclass(frozen=True)
class Claim:
    """The right to work on one ManagedPat until `expires_at`; `epoch` grows with each claim and fences writes."""

    name: str
    run_id: str
    epoch: int
    expires_at: datetime


@dataclass(frozen=True)
class UntrackedPat:
    """A PAT that the server listed and the inventory does not hold, as of the last reconciliation."""

    account: str
    organization: str
    pat: Pat


class Inventory(Protocol):
    """The ManagedPats."""

    def load_all(self) -> tuple[ManagedPat, ...]:
        """All records, by name."""

    def load(self, name: str) -> ManagedPat | None:
        """One record."""

    def add(self, pat: ManagedPat) -> None:
        """A new record. UsageError if name, authorization id or secret location is already taken."""

    def save(self, pat: ManagedPat, claim: Claim) -> None:
        """Replace a record's fields except `epoch`. LeaseLostError unless the claim is the current one on it."""

    def remove(self, name: str) -> None:
        """Forget a record and keep its rotations."""

    def save_untracked(self, account: str, organization: str, pats: tuple[Pat, ...]) -> None:
        """Replace what is remembered as untracked for one account and organization."""

    def load_untracked(self) -> tuple[UntrackedPat, ...]:
        """What the last reconciliations left."""


class Journal(Protocol):
    """The rotations. Every write is fenced: LeaseLostError unless the claim's epoch is the current one."""

    def insert(self, rotation: Rotation, claim: Claim) -> None:
        """A new rotation. LeaseHeldError when its ManagedPat has an open one already."""

    def save(self, rotation: Rotation, claim: Claim) -> None:
        """Replace a rotation."""

    def load_open(self) -> tuple[Rotation, ...]:
        """Every rotation that is not closed."""

    def load_for(self, name: str, *, since: datetime | None = None) -> tuple[Rotation, ...]:
        """A ManagedPat's rotations, the newest first; those created at or after `since` if given."""

    def load_unconfirmed(self, now: datetime) -> tuple[Rotation, ...]:
        """Closed rotations without a known new PAT whose mint was sent and whose planned expiry is after `now`.

        Their request could still land: a listing that shows their fingerprint shows an orphan of ours.
        """

    def load_failed(self) -> tuple[Rotation, ...]:
        """Every failed rotation, the oldest first: what they minted or were to retire may still live."""

    def load_late_stores(self, since: datetime) -> tuple[Rotation, ...]:
        """Rotations of which `may_land_late` is true, last changed at or after `since`."""

    def load_minted_ids(self) -> frozenset[str]:
        """The authorization ids of every PAT that we ever minted."""


class AuditLog(Protocol):
    """The hash chain. Appending happens in the same transaction as what it tells."""

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """Chain an entry to the end, serialised against every other writer."""

    def load(
        self,
        *,
        since: datetime | None = None,
        subject: str | None = None,
        event: str | None = None,
        run_id: str | None = None,
    ) -> Iterator[AuditEvent]:
        """Events in order, filtered."""

    def load_head(self) -> AuditEvent | None:
        """The newest event."""


class Leases(Protocol):
    """Claims on ManagedPats."""

    def claim(self, name: str, run_id: str, *, now: datetime, span: timedelta) -> Claim:
        """Claim a ManagedPat for this run, with the next epoch. LeaseHeldError while another run's claim lasts."""

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """The claim with a later end. LeaseLostError if somebody else has claimed since."""

    def release(self, claim: Claim) -> None:
        """Give a claim back; one that was lost is left alone."""


class LifetimeLimits(Protocol):
    """The longest lifetime that each account was granted in each organization, learned from clamped mints."""

    def load(self) -> dict[tuple[str, str], timedelta]:
        """By (account, organization)."""

    def save(self, account: str, organization: str, longest: timedelta, *, learned_at: datetime) -> None:
        """Remember a limit."""


class UnitOfWork(Protocol):
    """One transaction. Leaving the `with` block commits it; an exception rolls all of it back."""

    inventory: Inventory
    journal: Journal
    audit: AuditLog
    leases: Leases
    limits: LifetimeLimits

    def now(self) -> datetime:
        """The database server's clock; for SQLite the host's."""


class Database(Protocol):
    """Transactions. DatabaseError and its children when it cannot be used."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """A transaction that no other writer runs beside (SQLite) or that locks what it changes (PostgreSQL)."""


class Progress(Protocol):
    """One line per fact while a run works: an event name and its plain values. Goes to the log."""

    def __call__(self, event: str, /, **values: str | int | None) -> None:
        """Tell one fact."""
