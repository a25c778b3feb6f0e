"""The users of an organization and their PATs, as a token administrator of the organization may list them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rotator.domain.managed_pat import Pat

LONG_LIVED = timedelta(days=90)
"""A PAT that is valid for longer is long-lived, unless the policy says how long one may be valid."""
FULL_ACCESS = "app_token"


class UserLook(StrEnum):
    """What came of the look at one user's PATs.

    `ok`: all of them were listed. `denied`: the account may not list them. `skipped`: nobody looked, or the look
    failed. Of a user that is not `ok` nothing is known.
    """

    OK = "ok"
    DENIED = "denied"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class OrganizationUser:
    """A user of an organization. `name` is what they sign in with.

    `is_deleted`: the directory that they come from has them no more. `is_service`: an identity that cannot have PATs.
    """

    descriptor: str
    name: str
    is_deleted: bool = False
    is_service: bool = False


def is_long_lived(pat: Pat, longest: timedelta | None) -> bool:
    """Whether a PAT is valid for longer than the policy allows, or than 90 days where the policy says nothing."""
    return pat.valid_to - pat.valid_from > (longest or LONG_LIVED)
