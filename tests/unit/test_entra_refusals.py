"""The sentences for Entra's refusals: every row of the table can be said, whatever was asked."""

import re

import pytest

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.entra.refusals import Asked, make_refusal
from rotator.errors import SignInRequiredError, TransientError

OPERATIONS = ("refresh_token", "device_code", "browser")
NUMBERS = (
    *(65001, 65004, 90094, 50074, 50076, 50078, 50079, 50158, 53000, 53003, 530003, 50173, 70008, 70018, 70043, 90002),
    *(
        700082,
        50057,
        50055,
        50105,
        50020,
        50034,
        7000222,
        7000215,
        700027,
        700024,
        7000218,
        700025,
        700016,
        50011,
        500011,
    ),
)
SUBERRORS = {
    "consent_required": "consent_missing",
    "basic_action": "mfa_required",
    "message_only": "conditional_access",
    "bad_token": "sign_in_expired",
    "token_expired": "sign_in_expired",
    "unheard_of": "sign_in_expired",
}


def make_asked(operation: str = "refresh_token") -> Asked:
    return Asked("bot", "bot@contoso.com", "app-id", "contoso.com", "https://login", AZURE_DEVOPS_SCOPE, operation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", NUMBERS)
def test_refusal_says_why_and_what_to_do_when_the_number_is_known(number: int, operation: str) -> None:
    refusal = make_refusal({"error": "invalid_grant", "error_codes": [number]}, make_asked(operation))
    assert isinstance(refusal, SignInRequiredError)
    assert refusal.code not in ("sign_in_refused", "sign_in_expired", "sign_in_required")
    assert refusal.account == "bot"
    assert f"AADSTS{number}" in refusal.message
    assert not {"{", "}"} & set(refusal.message + refusal.fix)
    assert len(refusal.fix) > 20
    assert refusal.fix.endswith(".")
    assert "rotator login" not in re.sub("`[^`]*`", "", refusal.fix)


def test_refusal_speaks_of_a_leaver_when_the_user_was_deleted() -> None:
    """Nobody can sign this user in again; its PATs go on under another account."""
    answer = {"error": "invalid_grant", "error_codes": [50034], "error_description": "AADSTS50034: no such user"}
    refusal = make_refusal(answer, make_asked())
    assert refusal.code == "user_unknown"
    assert "bot@contoso.com" in refusal.message
    assert "has left" in refusal.fix
    assert "`rotator inventory move NAME --account OTHER`" in refusal.fix


@pytest.mark.parametrize(("suberror", "code"), SUBERRORS.items())
def test_refusal_goes_by_the_suberror_when_the_number_is_unknown(suberror: str, code: str) -> None:
    answer = {"error": "invalid_grant", "suberror": suberror, "error_codes": [123456]}
    assert make_refusal(answer, make_asked()).code == code


def test_refusal_repeats_what_entra_said_when_nothing_is_known() -> None:
    answer = {"error": "odd", "error_description": "AADSTS999999: {Odd} thing.\r\nTrace ID: 1 Correlation ID: 2"}
    refusal = make_refusal(answer, make_asked())
    assert refusal.code == "sign_in_refused"
    assert "{Odd} thing." in refusal.message
    assert "Trace ID" not in refusal.message
    assert "rotator login bot" in refusal.fix


@pytest.mark.parametrize(
    "answer",
    [
        {"message": "welcome to the proxy"},
        {"error": "forbidden", "message": "no session at this gateway"},
        {"error": "Unauthorized", "error_description": "log in to the proxy"},
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_refusal_may_be_repeated_when_the_answer_is_not_entras(answer: dict[str, str], operation: str) -> None:
    refusal = make_refusal(answer, make_asked(operation))
    assert isinstance(refusal, TransientError)
    assert "entra.authority" in refusal.fix
