"""Every `patTokenError` of API 7.1 and 7.2, and who must do what about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rotator.adapters.azure_devops.call import (
    Call,
    Trace,
    make_denied,
    make_rejected,
    make_transient,
)
from rotator.adapters.redaction import redact_text
from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END
from rotator.domain.outside import make_harmless
from rotator.errors import RotatorError, SignInRequiredError

UNKNOWN_CODE = "pat_error_unknown"


class Remedy(StrEnum):
    """What helps: waiting, a sign-in, another right, our own policy file, an administrator, a look at the PAT."""

    RETRY = "retry"
    SIGN_IN = "sign_in"
    ASK_FOR_ACCESS = "ask_for_access"
    FIX_POLICY = "fix_policy"
    ASK_ADMIN = "ask_admin"
    LOOK = "look"


@dataclass(frozen=True)
class PatError:
    """One value: what helps, our code, the reason, and the fix."""

    remedy: Remedy
    code: str
    reason: str
    fix: str = ""


_TENANT_ADMIN = (
    "Ask an Azure DevOps Administrator of the Entra tenant (Organization settings, Microsoft Entra, tenant policies)"
)
_SIGN_IN = "Sign in again: run `rotator login {account}`."
_CLIENT = "Check accounts[].client_id and that the app registration has the delegated Azure DevOps permission."
_GONE = "Run rotator scan: the PAT was revoked or belongs to another user; adopt its successor or forget it."
_SPLIT = (
    "Create one PAT per organization by hand and adopt those: no PAT for all organizations works from "
    f"{ALL_ORGANIZATIONS_END:%Y-%m-%d} on. "
    f"{_TENANT_ADMIN} about 'Restrict creation of global personal access tokens' only if they are still allowed."
)
_BY_HAND = "Create a new PAT by hand and adopt it, or set action: alert in its rule."


def _sign_in(reason: str) -> PatError:
    return PatError(Remedy.SIGN_IN, "sign_in_refused", reason, _SIGN_IN)


def _client(reason: str) -> PatError:
    return PatError(Remedy.ASK_FOR_ACCESS, "client_refused", reason, _CLIENT)


def _gone(reason: str) -> PatError:
    return PatError(Remedy.LOOK, "pat_not_found", reason, _GONE)


def _source(reason: str) -> PatError:
    fix = (
        "Ask the tenant's administrator which Conditional Access or IP policy blocks this host, and to allow this host."
    )
    return PatError(Remedy.ASK_ADMIN, "source_refused", reason, fix)


PAT_ERRORS: dict[str, PatError] = {
    "displayNameRequired": PatError(
        Remedy.LOOK, "display_name_invalid", "a PAT needs a display name", "Give the PAT a name in Azure DevOps."
    ),
    "invalidDisplayName": PatError(
        Remedy.LOOK,
        "display_name_invalid",
        "the display name is not allowed",
        "Rename the PAT in Azure DevOps: at most 255 printable characters.",
    ),
    "invalidValidTo": PatError(
        Remedy.FIX_POLICY,
        "lifetime_invalid",
        "the requested expiry is not allowed",
        "Set lifetime of the policy rule to a shorter, positive duration, and check this host's clock.",
    ),
    "invalidScope": PatError(Remedy.LOOK, "scope_invalid", "the scope is unknown or no longer exists", _BY_HAND),
    "userIdRequired": _sign_in("the sign-in does not name a user"),
    "invalidUserId": _sign_in("the signed-in user is not known"),
    "invalidUserType": PatError(
        Remedy.ASK_FOR_ACCESS,
        "service_principal",
        "only users can have PATs, and the sign-in is not a user's",
        "Sign in as a user (`rotator login {account}`): a service principal cannot create PATs.",
    ),
    "accessDenied": PatError(
        Remedy.ASK_FOR_ACCESS,
        "access_denied",
        "the signed-in user may not do this",
        "Ask an administrator of the organization {organization} whether the user may enter, and whether "
        "'Restrict personal access token creation' (Organization settings, Policies) applies to the user.",
    ),
    "failedToIssueAccessToken": PatError(Remedy.RETRY, "pat_not_issued", "the PAT could not be issued"),
    "invalidClient": _client("the client application is not accepted"),
    "invalidClientType": _client("this kind of client application is not accepted"),
    "invalidClientId": _client("the client application is not known"),
    "invalidTargetAccounts": PatError(
        Remedy.LOOK,
        "organization_invalid",
        "a PAT cannot be created for this organization",
        "Check accounts[].organizations: {organization} must be an organization that the user can reach.",
    ),
    "hostAuthorizationNotFound": PatError(
        Remedy.ASK_FOR_ACCESS,
        "organization_not_authorized",
        "the client application is not authorized in the organization",
        "Ask an administrator of {organization} to allow third-party application access, and sign in again.",
    ),
    "authorizationNotFound": _gone("there is no such PAT"),
    "tokenNotFound": _gone("there is no such PAT"),
    "invalidAuthorizationId": _gone("the authorization id is not valid"),
    "failedToUpdateAccessToken": PatError(
        Remedy.LOOK,
        "pat_not_updated",
        "the PAT could not be changed, perhaps because it is revoked",
        "Run rotator scan to see the PAT's state.",
    ),
    "sourceNotSupported": _source("this kind of source is not supported"),
    "invalidSourceIP": _source("this host's address is not allowed"),
    "invalidSource": _source("the source is not allowed"),
    "duplicateHash": PatError(Remedy.RETRY, "pat_not_issued", "the generated value already exists"),
    "sshPolicyDisabled": PatError(
        Remedy.ASK_ADMIN,
        "ssh_policy",
        "SSH authentication is switched off",
        "Ask an administrator of {organization}: Organization settings, Policies, 'SSH authentication'.",
    ),
    "invalidToken": _sign_in("the access token is not accepted"),
    "failedToReadTenantPolicy": PatError(
        Remedy.RETRY, "policy_unreadable", "the service could not read the tenant's policies"
    ),
    "globalPatPolicyViolation": PatError(
        Remedy.ASK_ADMIN, "global_pat_policy", "all-organization PATs are forbidden by the tenant", _SPLIT
    ),
    "fullScopePatPolicyViolation": PatError(
        Remedy.ASK_ADMIN,
        "full_scope_policy",
        "full-access PATs are forbidden by the tenant",
        "Replace it by hand with a PAT that has only the scopes it needs, and adopt that; or: "
        f"{_TENANT_ADMIN} to put the user on the allowlist of "
        "'Restrict creation of full-scoped personal access tokens'.",
    ),
    "patLifespanPolicyViolation": PatError(
        Remedy.FIX_POLICY,
        "lifespan_policy",
        "the lifetime is longer than the tenant allows",
        "Set lifetime of the policy rule, or guardrails.max_lifetime, to the tenant's maximum; or: "
        f"{_TENANT_ADMIN} about 'Enforce maximum personal access token lifespan'.",
    ),
    "invalidTokenType": PatError(Remedy.LOOK, "pat_type_invalid", "this kind of token is not accepted", _BY_HAND),
    "invalidAudience": _sign_in("the access token is for another service"),
    "invalidSubject": _sign_in("the access token is for another subject"),
    "deploymentHostNotSupported": PatError(
        Remedy.LOOK,
        "organization_invalid",
        "the address does not name an organization",
        "Check azure_devops.identity_url and accounts[].organizations.",
    ),
    "disablePatCreationPolicyViolation": PatError(
        Remedy.ASK_ADMIN,
        "creation_policy",
        "the organization restricts who may create PATs",
        "Ask a Project Collection Administrator of {organization} to put the user on the allowlist of "
        "'Restrict personal access token creation' (Organization settings, Policies).",
    ),
    "failedToReadOrgPolicy": PatError(
        Remedy.RETRY, "policy_unreadable", "the service could not read the organization's policies"
    ),
    "globalPATCreationBlocked": PatError(
        Remedy.ASK_ADMIN, "global_pat_policy", "Azure DevOps creates no PATs for all organizations", _SPLIT
    ),
    "expiredPatCannotBeExtended": PatError(
        Remedy.LOOK,
        "pat_expired",
        "an expired PAT cannot be extended",
        "Create a new PAT by hand and adopt it.",
    ),
}
"""By the API's own word; `none` is not an error, so it is not here."""

NOT_FOUND = frozenset(name for name, entry in PAT_ERRORS.items() if entry.code == "pat_not_found")


def make_pat_error(call: Call, trace: Trace, name: str, message: str) -> RotatorError:
    """Return the error for a `patTokenError` other than `none`. All of them are definite: nothing was changed."""
    entry = PAT_ERRORS.get(name)
    if entry is None:
        fix = "Look at the PAT in Azure DevOps, and report this message as a bug in rotator."
        return make_rejected(call, trace, UNKNOWN_CODE, _say(f"it answered {redact_text(name)[:80]}", message), fix)
    reason = _say(f"{entry.reason} ({name})", message)
    fix = entry.fix.format(account=call.account, organization=call.organization)
    if entry.remedy is Remedy.RETRY:
        return make_transient(call, trace, entry.code, reason)
    if entry.remedy is Remedy.SIGN_IN:
        text = f"Azure DevOps refused to {call.purpose}: {reason}{trace}"
        return SignInRequiredError(text, account=call.account, code=entry.code, fix=fix)
    if entry.remedy is Remedy.ASK_FOR_ACCESS:
        return make_denied(call, trace, entry.code, reason, fix)
    return make_rejected(call, trace, entry.code, reason, fix)


def _say(reason: str, message: str) -> str:
    told = make_harmless(" ".join(redact_text(message).split()))[:300]
    return f"{reason}: {told}" if told else reason
