"""Where consumers read the current value: Azure Key Vault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self

from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.secret_value import SecretValue
from rotator.ports.permit import Permit

MOST_TAGS = 15
"""How many tags one version of a secret may have."""


@dataclass(frozen=True)
class SecretLocation:
    """Where a secret is: the vault's https address and its name; `account` is whose sign-in may be needed.

    `managed_pat` is the one whose value is to be there; "" where that is not known.
    """

    vault: str
    name: str
    account: str
    managed_pat: str = field(default="", compare=False)

    @classmethod
    def of(cls, pat: ManagedPat) -> Self:
        """Return where a ManagedPat's value is stored; where it moves to another account, as that one sees it."""
        return cls(pat.vault, pat.secret_name, pat.next_account, pat.name)

    @property
    def is_nowhere(self) -> bool:
        """Whether it is a canary's: there is no such secret, and nothing is asked for it."""
        return not self.vault


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


class WrittenVersion(str):
    """The id of a version that was written; `answer_ids` are the ids of the vault's answer."""

    answer_ids: AnswerIds

    def __new__(cls, version: str, answer_ids: AnswerIds = NO_IDS) -> Self:
        """Make the id."""
        made = super().__new__(cls, version)
        made.answer_ids = answer_ids
        return made


class SecretAccess(Protocol):
    """Whether the vaults let us do what a rotation needs. May raise what SecretStore may."""

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """Prove list, get and set on one secret, and change nothing. Return its newest version, None if there is none.

        RejectedError for a name that is soft-deleted, and for a newest version that is disabled.
        """


class SecretStore(SecretAccess, Protocol):
    """Where consumers read the current value: Azure Key Vault.

    Every method may raise DeniedError, RejectedError and TransientError; `store` raises UnknownOutcomeError when
    the write may have happened.
    """

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """Prove that a write would be accepted, by merging `intent` into the tags of the newest version.

        Returns that version as it was before, None when there is no secret yet.

        A missing secret, with permission to create it, is fine. A soft-deleted name, a missing permission or a
        firewall raises RejectedError or DeniedError, each with its fix.
        """

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """Return the value of a tag on the newest version of each secret that has it, by the secret's name, sorted."""

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """Return the newest version, as a consumer reads it; None if there is none, RejectedError if it is disabled."""

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """Return one version with its value; None if there is no such version."""

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """Return all versions, the newest first; none when there is no such secret.

        Where the first two are of one moment, the newest one's value was read to tell which it is.
        """

    def store(
        self,
        location: SecretLocation,
        value: SecretValue,
        *,
        expires_at: datetime | None,
        tags: dict[str, str],
        permit: Permit,
    ) -> WrittenVersion:
        """Write a new version, once at most. Return its version id. What never expires is not called a PAT."""

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """Make one version unreadable. It may be disabled already. Return the ids of the vault's answer."""
