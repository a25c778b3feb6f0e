"""Every `patTokenError` has its place, and each says who must do what."""

from __future__ import annotations

import pytest

from rotator.adapters.azure_devops.call import Call, Trace
from rotator.adapters.azure_devops.pat_errors import NOT_FOUND, PAT_ERRORS, Remedy, make_pat_error
from rotator.errors import DeniedError, RejectedError, RotatorError, SignInRequiredError, TransientError

_WORDS_IN_7_1 = """
none displayNameRequired invalidDisplayName invalidValidTo invalidScope userIdRequired invalidUserId invalidUserType
accessDenied failedToIssueAccessToken invalidClient invalidClientType invalidClientId invalidTargetAccounts
hostAuthorizationNotFound authorizationNotFound failedToUpdateAccessToken sourceNotSupported invalidSourceIP
invalidSource duplicateHash sshPolicyDisabled invalidToken tokenNotFound invalidAuthorizationId
failedToReadTenantPolicy globalPatPolicyViolation fullScopePatPolicyViolation patLifespanPolicyViolation
invalidTokenType invalidAudience invalidSubject deploymentHostNotSupported
"""
_WORDS_NEW_IN_7_2 = """
disablePatCreationPolicyViolation failedToReadOrgPolicy globalPATCreationBlocked expiredPatCannotBeExtended
"""
IN_7_1, NEW_IN_7_2 = _WORDS_IN_7_1.split(), _WORDS_NEW_IN_7_2.split()
CLASSES: dict[Remedy, type[RotatorError]] = {
    Remedy.RETRY: TransientError,
    Remedy.SIGN_IN: SignInRequiredError,
    Remedy.ASK_FOR_ACCESS: DeniedError,
    Remedy.FIX_POLICY: RejectedError,
    Remedy.ASK_ADMIN: RejectedError,
    Remedy.LOOK: RejectedError,
}
CALL = Call("mint_pat", 'create the PAT "npm-feed" in contoso', "build-bot", "contoso", "POST", "https://x.invalid")


def test_table_holds_every_value_of_both_versions_and_no_other() -> None:
    assert (len(IN_7_1), len(NEW_IN_7_2)) == (33, 4)
    assert set(PAT_ERRORS) == {*IN_7_1, *NEW_IN_7_2} - {"none"}


@pytest.mark.parametrize("name", sorted(PAT_ERRORS))
def test_error_says_what_why_and_who_when_made(name: str) -> None:
    error = make_pat_error(CALL, Trace(200, "42-request"), name, "The service's own words.")

    assert type(error) is CLASSES[PAT_ERRORS[name].remedy]
    assert 'the PAT "npm-feed" in contoso' in error.message
    assert f"({name}): The service's own words. (request 42-request)" in error.message
    assert error.code == PAT_ERRORS[name].code
    assert error.fix
    assert "{" not in error.fix


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("globalPatPolicyViolation", "global_pat_policy", "Create one PAT per organization"),
        ("globalPATCreationBlocked", "global_pat_policy", "2026-12-01"),
        ("fullScopePatPolicyViolation", "full_scope_policy", "Azure DevOps Administrator"),
        ("patLifespanPolicyViolation", "lifespan_policy", "Set lifetime of the policy rule"),
        ("disablePatCreationPolicyViolation", "creation_policy", "Project Collection Administrator of contoso"),
        ("invalidUserType", "service_principal", "rotator login build-bot"),
        ("invalidToken", "sign_in_refused", "rotator login build-bot"),
        ("invalidClientId", "client_refused", "accounts[].client_id"),
    ],
)
def test_fix_names_setting_policy_or_person(name: str, code: str, words: str) -> None:
    error = make_pat_error(CALL, Trace(), name, "")
    assert error.code == code
    assert words in error.fix


def test_unknown_word_is_a_definite_failure() -> None:
    error = make_pat_error(CALL, Trace(), "moonInWrongPhase" * 100, "")
    assert isinstance(error, RejectedError)
    assert error.code == "pat_error_unknown"
    assert len(error.message) < 300


def test_not_found_is_what_a_missing_pat_is_called() -> None:
    assert sorted(NOT_FOUND) == ["authorizationNotFound", "invalidAuthorizationId", "tokenNotFound"]
