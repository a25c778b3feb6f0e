"""What stands in the way of rotating a PAT, as values, and the failure that each is shown as."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from rotator.domain.managed_pat import ALL_ORGANIZATIONS, ALL_ORGANIZATIONS_END, Failure
from rotator.domain.words import say_duration

FULL_ACCESS = "app_token"
"""The scope that reaches everything its user reaches."""
_SPLIT = "Create one PAT per organization with the same scopes, adopt those, then revoke this one."


class ObstacleKind(StrEnum):
    """Why a PAT cannot be rotated: the policy or the server forbids it, or the clone would be of no use."""

    NO_RULE = "no_rule"
    SCOPE_DENIED = "scope_denied"
    DUE_IMMEDIATELY = "due_immediately"
    OVERLAP_TOO_LONG = "overlap_too_long"
    ALL_ORGANIZATIONS = ALL_ORGANIZATIONS
    SEVERAL_ORGANIZATIONS = "several_organizations"
    OTHER_ORGANIZATION = "other_organization"


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

    def explain(self) -> Failure:
        """Return what is in the way, and who must do what."""
        message, fix = self._explain()
        return Failure(self.kind.value, message, fix)

    def _explain(self) -> tuple[str, str]:
        longest = say_duration(self.lifetime)
        match self.kind:
            case ObstacleKind.NO_RULE:
                return "no rule in the policy matches it", "Add a rule that matches it to the policy, or forget it."
            case ObstacleKind.SCOPE_DENIED:
                full = " (full access)" if self.scopes == (FULL_ACCESS,) else ""
                return (
                    f"its scope {', '.join(self.scopes)}{full} is denied by guardrails.deny_scopes",
                    "Replace it with a PAT that has only the scopes its consumers need, and adopt that one.",
                )
            case ObstacleKind.DUE_IMMEDIATELY:
                return (
                    f"a new one may live {longest} at most and would be due again immediately "
                    f"(rotate_before {self.rotate_before})",
                    f"Set rotate_before of rule {self.rule} below {longest}, or to a percentage.",
                )
            case ObstacleKind.OVERLAP_TOO_LONG:
                return (
                    f"the overlap of {say_duration(self.overlap)} is longer than the {longest} that a new one may live",
                    f"Set overlap of rule {self.rule} below {longest}.",
                )
            case ObstacleKind.ALL_ORGANIZATIONS:
                ends = f"{ALL_ORGANIZATIONS_END:%Y-%m-%d}"
                return f"it is valid for all organizations, and no such PAT works from {ends} on", _SPLIT
            case ObstacleKind.SEVERAL_ORGANIZATIONS:
                reach = f"it is valid for {self.organizations} organizations"
                return f"{reach}, but the API creates PATs for one only", _SPLIT
            case ObstacleKind.OTHER_ORGANIZATION:
                return (
                    "it belongs to a different organization from the one in the inventory",
                    "Forget it here and adopt it under the organization it is valid for.",
                )
