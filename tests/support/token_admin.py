"""The users of an organization and their PATs, in memory, as their administrator may list them."""

from __future__ import annotations

from dataclasses import dataclass, field

from rotator.domain.answer_ids import AnswerIds
from rotator.domain.user_pats import OrganizationUser
from rotator.errors import RotatorError
from rotator.ports.pat_service import PatList
from rotator.ports.token_admin import UserList
from tests.support.engine import ACCOUNT, ORGANIZATION, EngineWorld

ANSWER = {"e2e_id": "7d3e0000-0000-4000-8000-000000000001"}


@dataclass
class FakeTokenAdmin:
    """Port TokenAdmin on the fake Azure DevOps. `errors`: what is raised, by account or by the name of a user."""

    world: EngineWorld
    users: list[OrganizationUser] = field(default_factory=list)
    errors: dict[str, RotatorError] = field(default_factory=dict)
    unreadable: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Whose PATs were asked for, and with which account."""
    revoked: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.users = self.users or [make_user(ACCOUNT), make_user("release-bot")]

    def fetch_users(self, account: str, organization: str) -> UserList:
        """See the port."""
        self._raise(account)
        return UserList(tuple(self.users) if organization == ORGANIZATION else (), self.unreadable)

    def fetch_user_pats(self, account: str, organization: str, user: OrganizationUser) -> PatList:
        """See the port. A user's name is the name of the account that owns the PATs."""
        self.asked.append((account, user.name))
        self._raise(user.name)
        return PatList(
            fake.pat for fake in self.world.pats.pats.values() if fake.account == user.name and not fake.revoked
        )

    def revoke(self, account: str, organization: str, authorization_id: str) -> AnswerIds:
        """See the port."""
        self._raise("revoke")
        self.revoked.append((account, organization, authorization_id))
        return ANSWER

    def _raise(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]


def make_user(name: str, *, is_deleted: bool = False, is_service: bool = False) -> OrganizationUser:
    """A user of that name."""
    return OrganizationUser(f"aad.{name}", name, is_deleted=is_deleted, is_service=is_service)
