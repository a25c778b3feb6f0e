"""What Azure DevOps lets the token administrators of an organization do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rotator.domain.answer_ids import AnswerIds
from rotator.domain.user_pats import OrganizationUser
from rotator.ports.pat_service import PatList


@dataclass(frozen=True)
class UserList:
    """The users of an organization. `unreadable` counts the entries that could not be read."""

    users: tuple[OrganizationUser, ...]
    unreadable: int = 0


class TokenAdmin(Protocol):
    """The PATs of all users of an organization, with the sign-in of an account that administers them.

    Every method may raise SignInRequiredError, DeniedError, RejectedError and TransientError.
    """

    def fetch_users(self, account: str, organization: str) -> UserList:
        """Return all users of an organization: all pages, or an error, never a part."""

    def fetch_user_pats(self, account: str, organization: str, user: OrganizationUser) -> PatList:
        """Return all PATs of a user that are valid there: all pages, or an error, never a part."""

    def revoke(self, account: str, organization: str, authorization_id: str) -> AnswerIds:
        """Ask to revoke a PAT of whatever user. Return the ids of the answer.

        UnknownOutcomeError when the request was sent and its answer is lost or unexpected. That it returns is no proof.
        """
