"""What an organization allows in a PAT: scopes, names and lifetimes, and the name of each refusal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.sandbox.world import Organization

FULL_ACCESS = "app_token"

_FAMILIES = {
    "advsec": "_write _manage",
    "agentpools": "_manage",
    "analytics": "",
    "auditlog": "",
    "build": "_execute",
    "code": "_write _manage _full _status",
    "connected_server": "",
    "dashboards": "_manage",
    "entitlements": "",
    "extension": "_manage",
    "extension.data": "_write",
    "gallery": "_acquire _publish _manage",
    "githubconnections": "_manage",
    "graph": "_manage",
    "hooks": "_write _interact",
    "identity": "_manage",
    "loadtest": "_write",
    "memberentitlementmanagement": "_write",
    "notification": "_write _manage _diagnostics",
    "packaging": "_write _manage",
    "pats": "_manage",
    "profile": "_write",
    "project": "_write _manage",
    "release": "_execute _manage",
    "serviceendpoint": "_query _manage",
    "settings": "_write",
    "symbols": "_write _manage",
    "test": "_write",
    "tokens": "",
    "tokenadministration": "",
    "wiki": "_write",
    "work": "_write _full",
}
_WITHOUT_FAMILY = (
    "auditstreams_manage environment_manage machinegroup_manage pipelineresources_use "
    "pipelineresources_manage securefiles_read securefiles_write securefiles_manage security_manage "
    "taskgroups_read taskgroups_write taskgroups_manage threads_full "
    "variablegroups_read variablegroups_write variablegroups_manage"
)
SCOPES = frozenset(
    {FULL_ACCESS}
    | {f"vso.{name}{ending}" for name, endings in _FAMILIES.items() for ending in ["", *endings.split()]}
    | {f"vso.{name}" for name in _WITHOUT_FAMILY.split()}
)
"""Every scope that a PAT may carry."""

_NAME_LIMIT = 255
# Values that only the newer API version has, and what the older one says instead.
_BEFORE_7_2 = {
    "globalPATCreationBlocked": "globalPatPolicyViolation",
    "disablePatCreationPolicyViolation": "accessDenied",
    "expiredPatCannotBeExtended": "invalidValidTo",
    "failedToReadOrgPolicy": "failedToReadTenantPolicy",
}
_MESSAGES = {
    "globalPATCreationBlocked": "Creation of global personal access tokens is blocked.",
    "globalPatPolicyViolation": "A tenant policy forbids global personal access tokens.",
    "fullScopePatPolicyViolation": "A tenant policy forbids full-scoped personal access tokens.",
    "patLifespanPolicyViolation": "The lifespan exceeds the maximum that the tenant policy allows.",
    "disablePatCreationPolicyViolation": "A policy of the organization forbids personal access tokens.",
}


@dataclass(frozen=True)
class PatWish:
    """The properties that a caller asks for."""

    display_name: str
    scope: str
    valid_to: datetime | None
    all_organizations: bool


def error_in_version(error: str, version: str) -> str:
    """Return the error's name as this API version (`7.1` or `7.2`) spells it."""
    return error if version == "7.2" else _BEFORE_7_2.get(error, error)


def error_message(error: str) -> str | None:
    """Return the message that 7.2 adds to an error, or None if the error is `none`."""
    return None if error == "none" else _MESSAGES.get(error, f"The request was refused: {error}.")


def check_wish(wish: PatWish, now: datetime) -> str:
    """Return the error if no organization would grant the wish, else `none`."""
    if not wish.display_name.strip():
        return "displayNameRequired"
    if len(wish.display_name) > _NAME_LIMIT or not wish.display_name.isprintable():
        return "invalidDisplayName"
    scopes = wish.scope.split()
    if not scopes or not set(scopes) <= SCOPES:
        return "invalidScope"
    if wish.valid_to is None or wish.valid_to <= now:
        return "invalidValidTo"
    return "none"


def check_policies(wish: PatWish, organization: Organization, created_at: datetime) -> str:
    """Return the error of the first policy that the wish violates, else `none`; a clamp violates nothing."""
    scopes = set(wish.scope.split())
    if not organization.creation_allowed and not scopes <= set(organization.creation_scopes or ()):
        return "disablePatCreationPolicyViolation"
    if FULL_ACCESS in scopes and not organization.full_scope_allowed:
        return "fullScopePatPolicyViolation"
    if wish.all_organizations and organization.global_pats == "policy_violation":
        return "globalPatPolicyViolation"
    if wish.all_organizations and organization.global_pats == "blocked":
        return "globalPATCreationBlocked"
    if organization.lifetime_mode != "refuse" or wish.valid_to is None:
        return "none"
    too_long = clamp(wish.valid_to, organization, created_at) < wish.valid_to
    return "patLifespanPolicyViolation" if too_long else "none"


def clamp(valid_to: datetime, organization: Organization, created_at: datetime) -> datetime:
    """Return the expiry that the organization grants."""
    if organization.max_lifetime is None:
        return valid_to
    return min(valid_to, created_at + organization.max_lifetime)
