"""What a look at a secret showed, without its value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Holding(StrEnum):
    """What a secret holds.

    `ours`: what a rotation in our journal wrote. `unknown_rotation`: what another one wrote, by its tags. `users_pat`:
    a value that signs in as the account's user; which PAT it is, nothing can tell. `something_else`: anything else.
    """

    ABSENT = "absent"
    OURS = "ours"
    USERS_PAT = "users_pat"
    SOMETHING_ELSE = "something_else"
    UNKNOWN_ROTATION = "unknown_rotation"


@dataclass(frozen=True)
class Sight:
    """What one look at a secret showed.

    `version` is the newest one, None where there is none, `authorization_id` the PAT that its tags name. `expected` is
    the account's user, `user` who a value signed in as, None where it was refused or, not being `pat_shaped`, was sent
    nowhere. `rotation_id` and `name` are those of the tags. `dropped_tags` are others' tags for which a version that we
    write has no room.
    """

    holding: Holding
    version: str | None = None
    expected: str = ""
    user: str | None = None
    pat_shaped: bool = False
    rotation_id: str = ""
    authorization_id: str = ""
    name: str = ""
    dropped_tags: tuple[str, ...] = ()

    @property
    def needs_confirmation(self) -> bool:
        """Whether only this very version may be replaced, and only because a person saw it."""
        return self.holding in (Holding.USERS_PAT, Holding.SOMETHING_ELSE)
