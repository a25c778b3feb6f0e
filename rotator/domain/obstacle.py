"""What stands in the way of rotating a PAT, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rotator.domain.managed_pat import ALL_ORGANIZATIONS, Pat

FULL_ACCESS = "app_token"
"""The scope that reaches everything its user reaches."""


class ObstacleKind(StrEnum):
    """Why a PAT cannot be rotated: the policy or the server forbids it, or the clone would be of no use."""

    NO_RULE = "no_rule"
    SCOPE_DENIED = "scope_denied"
    DUE_IMMEDIATELY = "due_immediately"
    OVERLAP_TOO_LONG = "overlap_too_long"
    ALL_ORGANIZATIONS = ALL_ORGANIZATIONS
    SEVERAL_ORGANIZATIONS = "several_organizations"
    OTHER_ORGANIZATION = "other_organization"
    LIFETIME_TOO_LONG = "lifetime_too_long"


@dataclass(frozen=True)
class Obstacle:
    """One obstacle. `lifetime` is what a clone could get, `rotate_before` and `overlap` what `rule` asks for.

    `scopes` are those that are denied, `organizations` is how many the PAT is valid for.
    """

    kind: ObstacleKind
    rule: str = ""
    scopes: tuple[str, ...] = ()
    lifetime: timedelta = timedelta(0)
    rotate_before: str = ""
    overlap: timedelta = timedelta(0)
    organizations: int = 0


def check_target(pat: Pat, organization_id: str | None) -> Obstacle | None:
    """Return the obstacle when a PAT is not valid for just this organization; with its id unknown, for just one."""
    targets = pat.target_accounts
    if targets is None:
        return Obstacle(ObstacleKind.ALL_ORGANIZATIONS)
    if len(targets) != 1:
        return Obstacle(ObstacleKind.SEVERAL_ORGANIZATIONS, organizations=len(targets))
    if organization_id is not None and targets[0].lower() != organization_id.lower():
        return Obstacle(ObstacleKind.OTHER_ORGANIZATION)
    return None
