"""Azure DevOps, as far as PATs are concerned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from rotator.domain.account import Identity
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.ports.permit import Permit


class PatFilter(StrEnum):
    """Which PATs a listing shows: the API's own words."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ALL = "all"


@dataclass(frozen=True)
class MintedPat:
    """The answer to a mint: the metadata and, this once, the value (None if the service left it out)."""

    pat: Pat
    value: SecretValue | None
    answer_ids: AnswerIds = field(default_factory=dict, compare=False)


class PatList(tuple[Pat, ...]):
    """The PATs of a list, each entry read on its own.

    `unreadable` has one item for each entry that could not be read: its id, "" where that was not readable either.
    What such an entry may hide is not absent.
    """

    unreadable: tuple[str, ...]

    def __new__(cls, pats: Iterable[Pat] = (), unreadable: Iterable[str] = ()) -> Self:
        """Make the list."""
        made = super().__new__(cls, pats)
        made.unreadable = tuple(unreadable)
        return made


class PatService(Protocol):
    """Azure DevOps, as far as PATs go. `account` is our account's name.

    Every method may raise SignInRequiredError, DeniedError, RejectedError and TransientError; the mutating ones
    raise UnknownOutcomeError when the request was sent and its answer is lost or unexpected.
    """

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """Return who the account is signed in as in the organization."""

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """Return all pages of the list, or raise: never a part. May hold PATs of other organizations."""

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """Return one PAT's metadata, None if the service does not know the id."""

    def mint(
        self,
        account: str,
        organization: str,
        *,
        display_name: str,
        scope: str,
        valid_to: datetime,
        permit: Permit,
    ) -> MintedPat:
        """Create a PAT for this organization only. Carried out at most once. The answer's `valid_to` counts.

        A stop ends it before the request leaves, and after an answer that says that nothing was created.
        """

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """Return who the PAT authenticates as. VerificationError if nobody; TransientError if it could not be asked."""

    def revoke(self, account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        """Ask to revoke a PAT, even if it is gone already. Return the ids of the answer.

        That it returns is no proof: look for the PAT.
        """
