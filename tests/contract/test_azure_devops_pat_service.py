"""The Azure DevOps adapter when the service, the network or the sign-in misbehave; the rest is test_pat_service.py."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rotator.adapters.azure_devops.client import MOST_TRIES
from rotator.adapters.azure_devops.pat_service import MOST_PAGES, AzureDevOpsPatService
from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, Bearer
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.stop import ProcessStop
from rotator.domain.events.event import Event
from rotator.domain.events.places import ProbesDelayed, RequestsDelayed
from rotator.domain.secret_value import SecretValue
from rotator.errors import (
    DeniedError,
    RejectedError,
    RotatorError,
    SignInRequiredError,
    StoppedError,
    TransientError,
    UnknownOutcomeError,
    VerificationError,
)
from rotator.ports.pat_service import MintedPat, PatFilter
from rotator.ports.permit import unclaimed
from rotator.sandbox.world import World
from tests.support.azure_devops import (
    ACCOUNT,
    OTHER_ACCOUNT,
    ROBOT_ACCOUNT,
    SandboxAzureDevOps,
    SandboxBearers,
    run_azure_devops,
)
from tests.support.stop import StoppingFaults, make_stop_in_wait

HOME = "contoso"
SOME_ID = "0f0f0f0f-1111-4222-8333-444444444444"
PATS = "tokens/pats"
CHALLENGE_CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1764233600"}}}'
CHALLENGE = {
    "WWW-Authenticate": 'Bearer authorization_uri="https://login.example/common", error="insufficient_claims", '
    f'claims="{base64.b64encode(CHALLENGE_CLAIMS.encode()).decode().rstrip("=")}"'
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAzureDevOps]:
    with run_azure_devops(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def azure_devops(sandbox: SandboxAzureDevOps) -> Iterator[SandboxAzureDevOps]:
    sandbox.start_over()
    yield sandbox
    sandbox.service.close()


class StoppingBearers(SandboxBearers):
    """A source of tokens that is being asked when the stop comes."""

    def __init__(self, world: World, stop: ProcessStop) -> None:
        super().__init__(world)
        self._stop = stop

    def fetch_bearer(
        self, account: str, scope: str, *, claims: str | None = None, refused: SecretValue | None = None
    ) -> Bearer:
        """See the port."""
        self._stop.set()
        return super().fetch_bearer(account, scope, claims=claims, refused=refused)


def mint(
    azure_devops: SandboxAzureDevOps, account: str = ACCOUNT, service: AzureDevOpsPatService | None = None
) -> MintedPat:
    end = azure_devops.clock.now() + timedelta(days=30)
    return (service or azure_devops.service).mint(
        account, HOME, display_name="npm-feed", scope="vso.packaging", valid_to=end, permit=unclaimed
    )


def act(azure_devops: SandboxAzureDevOps, method: str, authorization_id: str = SOME_ID) -> object:
    """One operation of this HTTP method."""
    service = azure_devops.service
    if method == "GET":
        return service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    if method == "POST":
        return mint(azure_devops)
    service.revoke(ACCOUNT, HOME, authorization_id, permit=unclaimed)
    return None


def fail(operation: Callable[[], object]) -> RotatorError:
    """The error that the operation ends with."""
    with pytest.raises(RotatorError) as caught:
        operation()
    return caught.value


# Requests as they are sent.


def test_request_asks_for_no_redirect_and_holds_whole_seconds_when_minting(azure_devops: SandboxAzureDevOps) -> None:
    minted = mint(azure_devops)

    (request,) = azure_devops.requests()
    assert request.headers["x-tfs-fedauthredirect"] == "Suppress"
    assert request.query == {"api-version": "7.1-preview.1"}
    assert json.loads(request.body) == {
        "displayName": "npm-feed",
        "scope": "vso.packaging",
        "validTo": minted.pat.valid_to.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "allOrgs": False,
    }


def test_list_repeats_its_filters_when_there_are_more_pages(azure_devops: SandboxAzureDevOps) -> None:
    for number in range(101):
        azure_devops.add_pat(f"ci-{number}")

    assert len(azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)) == 101

    first, second = (dict(request.query) for request in azure_devops.requests())
    assert first == {"displayFilterOption": "active", "$top": "100", "api-version": "7.1-preview.1"}
    assert second.pop("continuationToken")
    assert second == first


def test_organization_is_quoted_when_it_has_odd_characters(azure_devops: SandboxAzureDevOps) -> None:
    error = fail(lambda: azure_devops.service.fetch_pat(ACCOUNT, "a b/../c?d#e", "id&x=1"))

    (request,) = azure_devops.requests()
    assert request.path == "/a b/../c?d#e/_apis/tokens/pats"
    assert request.query["authorizationId"] == "id&x=1"
    assert isinstance(error, RejectedError)


def test_cookies_are_not_kept_when_the_service_sets_some(azure_devops: SandboxAzureDevOps) -> None:
    page = {"continuationToken": "", "patTokens": []}
    azure_devops.plant("status", status=200, headers={"Set-Cookie": "session=alice; Path=/", **JSON}, body=page)

    act(azure_devops, "GET")
    fail(lambda: azure_devops.service.verify(HOME, SecretValue("nonsense")))

    assert [request.headers.get("cookie") for request in azure_devops.requests()] == [None, None]


def test_connection_is_reused_until_closed_when_one_thread_asks_again(
    azure_devops: SandboxAzureDevOps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "urllib3")
    for _ in range(5):
        act(azure_devops, "GET")
    assert caplog.text.count("Starting new HTTPS connection") == 1

    azure_devops.service.close()
    act(azure_devops, "GET")
    assert caplog.text.count("Starting new HTTPS connection") + caplog.text.count("Resetting dropped connection") == 2


# Lists.


@pytest.mark.parametrize(
    "page",
    [
        {},
        [],
        '"text"',
        {"continuationToken": ""},
        {"continuationToken": "", "patTokens": None},
        {"continuationToken": 7, "patTokens": []},
    ],
)
def test_list_is_an_error_and_never_a_part_when_a_page_is_malformed(
    azure_devops: SandboxAzureDevOps, page: object
) -> None:
    azure_devops.plant("status", status=200, body=page, headers=JSON)

    error = fail(lambda: act(azure_devops, "GET"))

    assert isinstance(error, TransientError)
    assert error.code == "malformed_answer"


def test_list_ends_when_the_continuation_token_is_null(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", status=200, body={"continuationToken": None, "patTokens": []}, headers=JSON)

    assert act(azure_devops, "GET") == ()


@pytest.mark.parametrize(("kind", "shown"), [("incomplete", ["new"]), ("lagging", ["old"])])
def test_list_looks_whole_when_the_service_leaves_an_entry_out(
    azure_devops: SandboxAzureDevOps, kind: str, shown: list[str]
) -> None:
    azure_devops.add_pat("old")
    azure_devops.world.clock.advance(timedelta(minutes=1))
    azure_devops.add_pat("new")
    azure_devops.plant(kind, "GET")
    first = azure_devops.service.fetch_pats(ACCOUNT, azure_devops.organization.name, PatFilter.ACTIVE)
    assert [pat.display_name for pat in first] == shown
    again = azure_devops.service.fetch_pats(ACCOUNT, azure_devops.organization.name, PatFilter.ACTIVE)
    assert len(again) == 2


@pytest.mark.parametrize("kind", ["incomplete", "lagging", "odd"])
def test_other_answers_are_true_when_the_lists_are_not(azure_devops: SandboxAzureDevOps, kind: str) -> None:
    """A fault of lists that hits every request for a while."""
    pat = azure_devops.add_pat("old")
    azure_devops.plant(kind, times=None)
    found = azure_devops.service.fetch_pat(ACCOUNT, HOME, pat.authorization_id)
    assert found is not None
    assert azure_devops.service.verify(HOME, SecretValue(pat.value)).user_id
    assert azure_devops.service.fetch_identity(ACCOUNT, HOME).user_id


@pytest.mark.parametrize(("entry", "shown"), [("x", ""), ({"authorizationId": SOME_ID}, SOME_ID)])
def test_list_sets_an_entry_aside_when_there_is_next_to_nothing_in_it(
    azure_devops: SandboxAzureDevOps, entry: object, shown: str
) -> None:
    page = {"continuationToken": "", "patTokens": [entry]}
    azure_devops.plant("status", status=200, body=page, headers=JSON)
    listed = azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    assert (listed, listed.unreadable) == ((), (shown,))


def test_list_sets_each_odd_entry_aside_and_gives_the_others(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.add_pat("sound")
    azure_devops.plant("odd", "GET")
    listed = azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    names = [pat.display_name for pat in listed]
    assert names == ["sound", "half \ufffd", "tab\ufffdnew\ufffdline\ufffdend", "x" * 300, "", "", "odd"]
    assert listed[-1].authorization_id == "0dd0000a-1111-4222-8333-44444444444b"
    assert listed.unreadable == (*(f"0dd0{n:04x}-1111-4222-8333-444444444444" for n in range(5, 10)), "", "")


def test_list_is_an_error_when_a_continuation_token_comes_twice(azure_devops: SandboxAzureDevOps) -> None:
    page = {"continuationToken": "again", "patTokens": []}
    azure_devops.plant("status", status=200, body=page, headers=JSON, times=None)

    error = fail(lambda: act(azure_devops, "GET"))

    assert isinstance(error, TransientError)
    assert error.code == "listing_incomplete"
    assert len(azure_devops.requests()) == 2


def test_list_is_an_error_when_it_does_not_end(azure_devops: SandboxAzureDevOps) -> None:
    for number in range(MOST_PAGES + 1):
        page = {"continuationToken": f"page {number}", "patTokens": []}
        azure_devops.plant("status", status=200, body=page, headers=JSON)

    error = fail(lambda: act(azure_devops, "GET"))

    assert isinstance(error, TransientError)
    assert error.code == "listing_incomplete"
    assert len(azure_devops.requests()) == MOST_PAGES


def test_list_holds_a_pat_once_when_two_pages_show_it(azure_devops: SandboxAzureDevOps) -> None:
    entry = {
        "displayName": "old",
        "validTo": "2026-12-03T09:00:00.1033333Z",
        "scope": "vso.code",
        "targetAccounts": None,
        "validFrom": "2026-11-03T09:00:00Z",
        "authorizationId": SOME_ID,
        "token": None,
    }
    for token, name in [("more", "old"), ("", "new")]:
        page = {"continuationToken": token, "patTokens": [{**entry, "displayName": name}]}
        azure_devops.plant("status", status=200, body=page, headers=JSON)

    (pat,) = azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)

    assert pat.display_name == "new"


# Pages for people, garbled answers.


@pytest.mark.parametrize("status", [203, 302])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_sign_in_page_is_a_refusal_when_it_comes_in_place_of_json(
    azure_devops: SandboxAzureDevOps, method: str, status: int
) -> None:
    """What only reads is sent once more, with a new token."""
    azure_devops.plant("html", status=status, times=None)

    error = fail(lambda: act(azure_devops, method))

    assert isinstance(error, DeniedError)
    assert error.code == "sign_in_page"
    assert error.status == status
    assert f"rotator login {ACCOUNT}" in error.fix
    assert len(azure_devops.requests()) == (2 if method == "GET" else 1)


@pytest.mark.parametrize("location", ["https://[::1", f"https://{'a7b2' * 13}.example/"])
def test_redirect_is_a_refusal_when_its_address_is_no_address_or_holds_a_pat(
    azure_devops: SandboxAzureDevOps, location: str
) -> None:
    azure_devops.plant("status", status=302, body={}, headers={"Location": location}, times=None)
    error = fail(lambda: act(azure_devops, "GET"))
    assert (type(error), error.code) == (DeniedError, "sign_in_page")
    assert "a7b2" * 13 not in error.message


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_page_with_status_200_is_no_answer_when_json_is_expected(azure_devops: SandboxAzureDevOps, method: str) -> None:
    page = "<html><body>Welcome to the proxy of Contoso</body></html>"
    # A look is repeated once, with a new token: such a page may be that of a sign-in.
    azure_devops.plant("status", times=2, status=200, headers={"Content-Type": "text/html"}, body=page)

    error = fail(lambda: act(azure_devops, method))

    # Who answered is not known, so neither is whether a change was made.
    assert isinstance(error, DeniedError if method == "GET" else UnknownOutcomeError)


@pytest.mark.parametrize("kind", ["truncated", "malformed"])
def test_answer_is_unknown_and_not_repeated_when_a_mint_reply_is_garbled(
    azure_devops: SandboxAzureDevOps, kind: str
) -> None:
    azure_devops.plant(kind, "POST")

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, UnknownOutcomeError)
    assert len(azure_devops.requests("POST")) == 1
    assert len(azure_devops.world.pats) == 1


@pytest.mark.parametrize("kind", ["truncated", "malformed"])
def test_list_is_repeated_when_its_reply_is_garbled(azure_devops: SandboxAzureDevOps, kind: str) -> None:
    azure_devops.add_pat("npm-feed")
    azure_devops.plant(kind, "GET")

    assert len(azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)) == 1


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"patToken": None, "patTokenError": "none"},
        {"patToken": {"authorizationId": SOME_ID}, "patTokenError": "none"},
        {"patToken": {"authorizationId": SOME_ID}, "patTokenError": "accessDenied"},
        {"patToken": {"token": 7}, "patTokenError": "none"},
    ],
)
def test_answer_is_unknown_when_a_mint_reply_makes_no_sense(azure_devops: SandboxAzureDevOps, document: object) -> None:
    azure_devops.plant("status", "POST", status=200, body=document, headers=JSON)

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, UnknownOutcomeError)
    assert error.code == "malformed_answer"


def test_mint_says_which_pat_the_reply_names_when_it_belongs_to_another_request(
    azure_devops: SandboxAzureDevOps,
) -> None:
    """Whether that PAT is ours is the engine's question: the PAT that was made is listed, the other one not touched."""
    entry = {
        "displayName": "prod-deploy",
        "validTo": "2027-05-01T00:00:00Z",
        "scope": "vso.release_manage",
        "targetAccounts": ["6f3d2c1b-0a9e-4c8d-b7f6-5e4d3c2b1a09"],
        "validFrom": "2026-05-05T08:00:00Z",
        "authorizationId": "00000005-1111-4222-8333-444444444444",
        "token": "A" * 76 + "AZDOBBBB",
    }
    document = {"patToken": entry, "patTokenError": "none"}
    azure_devops.plant("status", "POST", status=200, headers=JSON, body=document, effect=True)
    minted = mint(azure_devops)
    assert minted.pat.authorization_id == entry["authorizationId"]
    (made,) = azure_devops.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    assert made.display_name == "npm-feed"
    assert azure_devops.service.fetch_pat(ACCOUNT, HOME, minted.pat.authorization_id) is None


def test_mint_has_no_value_when_the_reply_leaves_it_out(azure_devops: SandboxAzureDevOps) -> None:
    entry = {
        "displayName": "npm-feed",
        "validTo": "2026-12-03T09:00:00Z",
        "scope": "vso.packaging",
        "targetAccounts": [SOME_ID],
        "validFrom": "2026-11-03T09:00:00.1033333Z",
        "authorizationId": SOME_ID,
        "token": None,
    }
    azure_devops.plant("status", "POST", status=200, headers=JSON, body={"patToken": entry, "patTokenError": "none"})

    minted = mint(azure_devops)

    assert minted.value is None
    assert minted.pat.target_accounts == (SOME_ID,)
    assert minted.pat.valid_from.microsecond == 103_333


def test_fetch_is_an_error_when_another_pat_comes_back(azure_devops: SandboxAzureDevOps) -> None:
    pat = azure_devops.add_pat("npm-feed")
    entry = {
        "displayName": "other",
        "validTo": "2026-12-03T09:00:00Z",
        "scope": "vso.code",
        "targetAccounts": None,
        "validFrom": "2026-11-03T09:00:00Z",
        "authorizationId": SOME_ID,
    }
    azure_devops.plant("status", "GET", status=200, headers=JSON, body={"patToken": entry, "patTokenError": "none"})

    error = fail(lambda: azure_devops.service.fetch_pat(ACCOUNT, HOME, pat.authorization_id))

    assert isinstance(error, TransientError)
    assert error.code == "malformed_answer"


def test_answer_is_read_when_it_starts_with_a_byte_order_mark(azure_devops: SandboxAzureDevOps) -> None:
    body = b'\xef\xbb\xbf{"continuationToken": "", "patTokens": []}'
    azure_devops.plant("status", status=200, headers=JSON, body=body)

    assert act(azure_devops, "GET") == ()


# Refusals.


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_refusal_names_reason_and_fix_when_the_bearer_is_not_accepted(
    azure_devops: SandboxAzureDevOps, method: str
) -> None:
    azure_devops.organization.members = set()

    error = fail(lambda: act(azure_devops, method))

    assert isinstance(error, DeniedError)
    assert (error.code, error.status, error.service) == ("bearer_refused", 401, "azure_devops")
    assert "TF400813" in error.message  # from behind a byte order mark
    assert error.request_id is not None
    assert error.request_id in error.message
    assert f"rotator login {ACCOUNT}" in error.fix
    first, second = azure_devops.requests()  # the second with a new token, in case it was the token
    assert first.headers["authorization"] != second.headers["authorization"]
    assert first.body == second.body


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_refused_bearer_is_replaced_once_and_the_call_goes_on(azure_devops: SandboxAzureDevOps, method: str) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant("status", method, status=401)
    act(azure_devops, method, pat.authorization_id)
    assert azure_devops.bearers.refused == 1


def test_refused_bearer_says_that_a_person_must_sign_in_when_entra_gives_no_other(
    azure_devops: SandboxAzureDevOps,
) -> None:
    azure_devops.bearers.revoked.add(ACCOUNT)
    azure_devops.plant("status", status=401, times=None)
    error = fail(lambda: act(azure_devops, "GET"))
    assert isinstance(error, SignInRequiredError)
    assert len(azure_devops.requests()) == 1


def test_message_has_its_form_when_a_mint_is_refused(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.organization.full_scope_allowed = False
    end = azure_devops.clock.now() + timedelta(days=1)

    error = fail(
        lambda: azure_devops.service.mint(
            ACCOUNT, HOME, display_name="npm-feed", scope="app_token", valid_to=end, permit=unclaimed
        )
    )

    assert error.message.startswith('Azure DevOps refused to create the PAT "npm-feed" in contoso: ')
    assert "Administrator" in error.fix


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_claims_challenge_is_answered_once_when_the_service_asks(azure_devops: SandboxAzureDevOps, method: str) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant("status", method, status=401, headers=CHALLENGE)

    act(azure_devops, method, pat.authorization_id)

    assert azure_devops.bearers.claims == [CHALLENGE_CLAIMS]
    first, second = azure_devops.requests()
    assert first.headers["authorization"] != second.headers["authorization"]
    assert first.body == second.body


def test_claims_challenge_is_a_refusal_when_it_comes_again(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", status=401, headers=CHALLENGE, times=None)

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, DeniedError)
    assert error.code == "bearer_refused"
    assert len(azure_devops.requests()) == 2


@pytest.mark.parametrize("claims", ["", "===", "_w", "not base64!"])
def test_claims_challenge_is_a_refusal_when_it_is_unreadable(azure_devops: SandboxAzureDevOps, claims: str) -> None:
    challenge = {"WWW-Authenticate": f'Bearer error="insufficient_claims", claims="{claims}"'}
    azure_devops.plant("status", status=401, headers=challenge, times=None)

    error = fail(lambda: act(azure_devops, "GET"))

    assert isinstance(error, DeniedError)
    assert azure_devops.bearers.claims == []


def test_forbidden_is_a_refusal_when_the_service_answers_403(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", status=403, headers=JSON, body={"message": "VS403283: not here."})

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, DeniedError)
    assert (error.code, error.kind) == ("denied", None)
    assert "VS403283" in error.message


@pytest.mark.parametrize("status", [None, 400, 401, 403, 500])
def test_service_principal_is_told_who_must_sign_in_when_refused(
    azure_devops: SandboxAzureDevOps, status: int | None
) -> None:
    if status is not None:
        document = {"typeKey": "InvalidAccessException", "message": "Service principals are not allowed."}
        azure_devops.plant("status", status=status, headers=JSON, body=document)

    error = fail(lambda: mint(azure_devops, ROBOT_ACCOUNT))

    assert isinstance(error, DeniedError)
    assert error.code == "service_principal"
    assert f"Sign in as a user with `rotator login {ROBOT_ACCOUNT}`" in error.fix


def test_request_is_rejected_when_the_api_version_is_wrong(azure_devops: SandboxAzureDevOps) -> None:
    service = azure_devops.make_service(version="9.9-preview.1")

    error = fail(lambda: service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE))

    assert isinstance(error, RejectedError)
    assert "out of range" in error.message
    assert "azure_devops.api_version" in error.fix
    service.close()


def test_reason_of_the_service_is_in_the_message_when_version_7_2_gives_one(
    azure_devops: SandboxAzureDevOps,
) -> None:
    azure_devops.organization.creation_allowed = False
    service = azure_devops.make_service(version="7.2-preview.1")
    end = azure_devops.clock.now() + timedelta(days=1)

    error = fail(
        lambda: service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed)
    )

    assert isinstance(error, RejectedError)
    assert error.code == "creation_policy"
    assert "A policy of the organization forbids personal access tokens." in error.message
    service.close()


def test_pat_error_is_definite_when_its_word_is_new(azure_devops: SandboxAzureDevOps) -> None:
    document = {"patToken": None, "patTokenError": "moonInWrongPhase", "patTokenErrorMessage": "Wait for it."}
    azure_devops.plant("status", status=200, headers=JSON, body=document)

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, RejectedError)
    assert error.code == "pat_error_unknown"
    assert "moonInWrongPhase: Wait for it." in error.message


def test_pat_error_is_read_when_it_comes_with_status_400(azure_devops: SandboxAzureDevOps) -> None:
    document = {"patToken": None, "patTokenError": "globalPatPolicyViolation"}
    azure_devops.plant("status", status=400, headers=JSON, body=document)

    error = fail(lambda: mint(azure_devops))

    assert isinstance(error, RejectedError)
    assert error.code == "global_pat_policy"
    assert "Administrator" in error.fix


# Lost answers, overload.


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "status", "truncated"])
def test_list_is_repeated_with_growing_pauses_when_it_fails(azure_devops: SandboxAzureDevOps, kind: str) -> None:
    azure_devops.plant(kind, status=503 if kind == "status" else None, times=3)

    assert act(azure_devops, "GET") == ()
    assert azure_devops.clock.slept == [1, 2, 4]


@pytest.mark.parametrize("kind", ["lost_before", "rate_limited"])
def test_list_is_not_repeated_when_the_stop_comes_in_the_pause(azure_devops: SandboxAzureDevOps, kind: str) -> None:
    azure_devops.plant(kind, times=None)
    stop = make_stop_in_wait()
    service = azure_devops.make_service(stop=stop)

    with pytest.raises(StoppedError):
        service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)
    with pytest.raises(StoppedError):
        service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)

    assert len(azure_devops.requests()) == 1
    service.close()


def mint_and_stop(
    azure_devops: SandboxAzureDevOps, monkeypatch: pytest.MonkeyPatch, **fault: Any
) -> tuple[BaseException, bool]:
    """What a mint ends with whose request is open when the stop comes, and whether its thread may continue then."""
    stop = ProcessStop()
    monkeypatch.setattr(azure_devops.world, "faults", StoppingFaults(stop))
    azure_devops.plant("latency", "POST")
    azure_devops.plant(method="POST", times=None, **fault)
    service = azure_devops.make_service(stop=stop)
    with stop.finishing(timedelta(minutes=1)):
        with pytest.raises((RotatorError, StoppedError)) as caught:
            mint(azure_devops, service=service)
        is_finishing = stop.set() == 1
    service.close()
    return caught.value, is_finishing


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limited", "seconds": 8},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 401},
    ],
    ids=["a time to wait", "too many", "refused token"],
)
def test_mint_that_was_refused_is_not_repeated_after_the_stop(
    azure_devops: SandboxAzureDevOps, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    error, is_finishing = mint_and_stop(azure_devops, monkeypatch, **fault)

    assert (type(error), is_finishing) == (StoppedError, False)
    assert len(azure_devops.requests("POST")) == 1
    assert azure_devops.world.pats == {}


def test_mint_that_was_refused_for_good_lets_nothing_continue_after_the_stop(
    azure_devops: SandboxAzureDevOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, is_finishing = mint_and_stop(azure_devops, monkeypatch, kind="status", status=403)
    assert (type(error), is_finishing) == (DeniedError, False)


@pytest.mark.parametrize("kind", ["lost_after", "malformed", "status"])
def test_mint_whose_outcome_is_unknown_is_still_finished_after_the_stop(
    azure_devops: SandboxAzureDevOps, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    status = 503 if kind == "status" else None
    error, is_finishing = mint_and_stop(azure_devops, monkeypatch, kind=kind, status=status)
    assert (type(error), is_finishing) == (UnknownOutcomeError, True)


def test_mint_is_not_sent_when_the_stop_comes_while_its_token_is_fetched(azure_devops: SandboxAzureDevOps) -> None:
    stop = ProcessStop()
    azure_devops.bearers = StoppingBearers(azure_devops.world, stop)
    service = azure_devops.make_service(stop=stop)

    with stop.finishing(timedelta(minutes=1)), pytest.raises(StoppedError):
        mint(azure_devops, service=service)

    assert azure_devops.requests() == []
    service.close()


@pytest.mark.parametrize("kind", ["lost_before", "rate_limited"])
def test_list_is_given_up_when_it_fails_too_often(azure_devops: SandboxAzureDevOps, kind: str) -> None:
    azure_devops.plant(kind, times=None)

    error = fail(lambda: act(azure_devops, "GET"))

    assert isinstance(error, TransientError)
    assert error.fix
    assert len(azure_devops.requests()) == MOST_TRIES


def test_list_is_given_up_when_repeating_takes_too_long(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", status=500, times=None)
    service = azure_devops.make_service(max_wait=timedelta(seconds=2))

    error = fail(lambda: service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE))

    assert isinstance(error, TransientError)
    assert (error.code, error.status) == ("server_error", 500)
    assert azure_devops.clock.slept == [1]
    service.close()


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "late", "status"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_change_is_sent_once_and_unknown_when_its_answer_is_lost(
    azure_devops: SandboxAzureDevOps, method: str, kind: str
) -> None:
    pat = azure_devops.add_pat("npm-feed")
    headers = {"Retry-After": "5"} if kind == "status" else {}
    azure_devops.plant(kind, method, status=503 if kind == "status" else None, headers=headers)

    error = fail(lambda: act(azure_devops, method, pat.authorization_id))

    assert isinstance(error, UnknownOutcomeError)
    assert error.operation == {"POST": "mint_pat", "DELETE": "revoke_pat"}[method]
    assert len(azure_devops.requests()) == 1
    assert azure_devops.clock.slept == []


def test_change_is_unknown_when_no_answer_comes_in_time(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("hang", "POST")
    ca_path = azure_devops.sandbox.addresses.ca_path
    http = HttpOptions(ca_path, read_timeout=timedelta(seconds=0.2))
    service = azure_devops.make_service(http=http)
    end = azure_devops.clock.now() + timedelta(days=1)

    error = fail(
        lambda: service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed)
    )

    assert isinstance(error, UnknownOutcomeError)
    assert error.code == "read_timeout"
    azure_devops.world.faults.clear()
    service.close()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_request_waits_and_is_sent_again_when_the_rate_limit_stops_it(
    azure_devops: SandboxAzureDevOps, method: str
) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant("rate_limited", method, seconds=30)

    act(azure_devops, method, pat.authorization_id)

    assert len(azure_devops.requests(method)) == 2
    assert sum(azure_devops.clock.slept) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("seconds", [90, 300])
def test_log_says_that_a_throttled_mint_waits_until_when_and_for_which_account(
    azure_devops: SandboxAzureDevOps, seconds: int
) -> None:
    """Once, before the wait, which may take two minutes; and also when that is too long to wait for."""
    told: list[tuple[Event, str, datetime]] = []
    service = azure_devops.make_service(
        progress=lambda event, subject: told.append((event, subject, azure_devops.clock.now()))
    )
    azure_devops.plant("rate_limited", "POST", seconds=seconds)
    end = azure_devops.clock.now() + timedelta(days=30)

    for _ in range(2):
        with suppress(TransientError):
            service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed)
    service.close()

    ((event, subject, at),) = told
    assert isinstance(event, RequestsDelayed)
    assert subject == ACCOUNT
    assert abs(event.until - at - timedelta(seconds=seconds)) < timedelta(seconds=5)


def test_log_says_that_values_of_pats_are_not_tried_for_a_while_and_where(azure_devops: SandboxAzureDevOps) -> None:
    """Nobody knows whose PAT it is before the answer, and no account is kept from its work."""
    told: list[tuple[Event, str, datetime]] = []
    service = azure_devops.make_service(
        progress=lambda event, subject: told.append((event, subject, azure_devops.clock.now()))
    )
    value = mint(azure_devops).value
    assert value is not None
    azure_devops.plant("rate_limited", "GET", seconds=20)

    for _ in range(2):
        service.verify(HOME, value)
    service.close()

    ((event, subject, at),) = told
    assert isinstance(event, ProbesDelayed)
    assert subject == HOME
    assert abs(event.until - at - timedelta(seconds=20)) < timedelta(seconds=5)


def test_log_says_nothing_of_a_wait_of_a_moment(azure_devops: SandboxAzureDevOps) -> None:
    told: list[Event] = []
    service = azure_devops.make_service(progress=lambda event, subject: told.append(event))
    azure_devops.plant("rate_limited", "GET", seconds=2)
    service.fetch_identity(ACCOUNT, HOME)
    service.close()
    assert told == []


def test_change_is_sent_again_when_a_429_names_no_time(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", "POST", status=429)
    azure_devops.plant("status", "POST", status=429, headers={"Retry-After": "0"})

    mint(azure_devops)

    assert azure_devops.clock.slept == [1, 2]
    assert len(azure_devops.world.pats) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_request_is_transient_with_the_time_when_the_rate_limit_lasts_too_long(
    azure_devops: SandboxAzureDevOps, method: str
) -> None:
    azure_devops.plant("rate_limited", seconds=300)

    error = fail(lambda: act(azure_devops, method))

    assert isinstance(error, TransientError)
    assert (error.code, error.status, error.retry_after) == ("throttled", 429, 300)
    assert "TF400733" in error.message
    later = fail(lambda: act(azure_devops, method))
    assert isinstance(later, TransientError)
    assert later.retry_after == pytest.approx(300, abs=2)
    assert len(azure_devops.requests()) == 1


@pytest.mark.parametrize(("kind", "status"), [("retry_after", None), ("status", 503)])
def test_next_request_of_the_account_waits_when_an_answer_asks_for_it(
    azure_devops: SandboxAzureDevOps, kind: str, status: int | None
) -> None:
    headers = {"Retry-After": "20"} if kind == "status" else {}
    azure_devops.plant(kind, "POST", status=status, headers=headers, seconds=20)
    if kind == "status":
        fail(lambda: mint(azure_devops))
    else:
        mint(azure_devops)
    assert azure_devops.clock.slept == []

    azure_devops.service.fetch_pats(OTHER_ACCOUNT, HOME, PatFilter.ACTIVE)
    assert azure_devops.clock.slept == []
    with ThreadPoolExecutor(1) as other_thread:
        other_thread.submit(act, azure_devops, "GET").result()

    assert sum(azure_devops.clock.slept) == pytest.approx(20, abs=1)


def test_next_request_waits_when_retry_after_is_a_date(azure_devops: SandboxAzureDevOps) -> None:
    """By the clock of the service, which the answer's own date tells."""
    now = azure_devops.clock.now()
    moment, date = (format_datetime(at, usegmt=True) for at in (now + timedelta(seconds=40), now))
    headers = {**JSON, "Retry-After": moment, "Date": date}
    azure_devops.plant("status", status=200, headers=headers, body={"continuationToken": "", "patTokens": []})

    act(azure_devops, "GET")
    act(azure_devops, "GET")

    assert sum(azure_devops.clock.slept) == pytest.approx(40, abs=2)


# The network.


def test_change_is_transient_when_it_certainly_was_not_sent(azure_devops: SandboxAzureDevOps) -> None:
    untrusting = azure_devops.make_service(http=HttpOptions())
    unreachable = azure_devops.make_service(url="https://127.0.0.1:9")
    nameless = azure_devops.make_service(url="https://vssps.invalid")
    end = azure_devops.clock.now() + timedelta(days=1)

    def attempt(service: object, code: str, word: str) -> None:
        assert hasattr(service, "mint")
        error = fail(
            lambda: service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed)
        )
        assert isinstance(error, TransientError)
        assert error.code == code
        assert word in error.fix
        assert word == "http.ca_bundle" or word in error.message

    attempt(untrusting, "tls_untrusted", "http.ca_bundle")
    attempt(unreachable, "connection_refused", "127.0.0.1:9")
    attempt(nameless, "dns_failed", "vssps.invalid")
    assert azure_devops.requests() == []
    assert azure_devops.clock.slept == []
    for service in (untrusting, unreachable, nameless):
        service.close()


# Revoking.


def test_revoke_is_confirmed_by_the_list_when_the_pat_is_said_to_be_gone(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.service.revoke(ACCOUNT, HOME, SOME_ID, permit=unclaimed)

    (listing,) = azure_devops.requests("GET")
    assert listing.query["displayFilterOption"] == "active"


@pytest.mark.parametrize("reply", [(404, {}), (200, {"patTokenError": "tokenNotFound", "patToken": None})])
def test_revoke_is_not_believed_when_the_list_still_shows_the_pat(
    azure_devops: SandboxAzureDevOps, reply: tuple[int, object]
) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant("status", "DELETE", status=reply[0], headers=JSON, body=reply[1])

    error = fail(lambda: azure_devops.service.revoke(ACCOUNT, HOME, pat.authorization_id.upper(), permit=unclaimed))

    assert isinstance(error, RejectedError)
    assert error.code == "revoke_not_confirmed"


def test_revoke_is_done_when_the_answer_is_200(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("status", "DELETE", status=200, headers=JSON, body={})
    azure_devops.service.revoke(ACCOUNT, HOME, SOME_ID, permit=unclaimed)
    azure_devops.plant("status", "DELETE", status=200)
    azure_devops.service.revoke(ACCOUNT, HOME, SOME_ID, permit=unclaimed)

    assert azure_devops.requests("GET") == []


def test_revoke_is_rejected_when_the_answer_names_another_error(azure_devops: SandboxAzureDevOps) -> None:
    document = {"patToken": None, "patTokenError": "accessDenied"}
    azure_devops.plant("status", "DELETE", status=200, headers=JSON, body=document)

    assert isinstance(fail(lambda: act(azure_devops, "DELETE")), DeniedError)


def test_revoke_is_not_done_when_the_confirming_list_fails(azure_devops: SandboxAzureDevOps) -> None:
    azure_devops.plant("html", "GET", times=2)

    assert isinstance(fail(lambda: act(azure_devops, "DELETE")), DeniedError)


# Probing a PAT.


def test_verify_sends_basic_with_an_empty_user(azure_devops: SandboxAzureDevOps) -> None:
    pat = azure_devops.add_pat("npm-feed")

    identity = azure_devops.service.verify(HOME, SecretValue(pat.value))

    (request,) = azure_devops.requests()
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == f":{pat.value}"
    assert (request.method, request.path) == ("GET", "/contoso/_apis/connectionData")
    assert identity.display_name == "Build Bot"
    assert identity.organization_id == azure_devops.organization.id


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("html", 203, "verification_failed"),
        ("html", 302, "verification_failed"),
        ("anonymous", None, "verification_failed"),
        ("status", 401, "verification_failed"),
        ("status", 403, "verification_forbidden"),
    ],
)
def test_verify_fails_when_the_service_does_not_know_the_pat(
    azure_devops: SandboxAzureDevOps, kind: str, status: int | None, code: str
) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant(kind, status=status)

    error = fail(lambda: azure_devops.service.verify(HOME, SecretValue(pat.value)))

    assert isinstance(error, VerificationError)
    assert error.code == code


@pytest.mark.parametrize(
    "user",
    [
        None,
        "x",
        {},
        {"providerDisplayName": "Build Bot"},
        {"id": "00000000-0000-0000-0000-000000000000", "providerDisplayName": "Build Bot"},
        {"id": "AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA", "providerDisplayName": "Build Bot"},
        {"id": SOME_ID, "providerDisplayName": "Anonymous"},
        {"id": SOME_ID},
    ],
)
def test_verify_fails_when_the_answer_names_no_real_user(azure_devops: SandboxAzureDevOps, user: object) -> None:
    azure_devops.plant("status", status=200, headers=JSON, body={"authenticatedUser": user}, times=2)

    assert isinstance(fail(lambda: azure_devops.service.verify(HOME, SecretValue("x"))), VerificationError)
    error = fail(lambda: azure_devops.service.fetch_identity(ACCOUNT, HOME))
    assert isinstance(error, DeniedError)
    assert error.code == "anonymous"


@pytest.mark.parametrize("body", [[1], "text", 7, True, {}, {"value": []}, {"message": "hello"}])
def test_answer_that_says_nothing_of_a_user_is_no_refusal(azure_devops: SandboxAzureDevOps, body: object) -> None:
    """Else a PAT that works would be called revoked, and somebody would be asked to sign in for nothing."""
    azure_devops.plant("status", status=200, headers=JSON, body=json.dumps(body), times=2)
    for ask in (
        lambda: azure_devops.service.verify(HOME, SecretValue("x")),
        lambda: azure_devops.service.fetch_identity(ACCOUNT, HOME),
    ):
        error = fail(ask)
        assert isinstance(error, TransientError)
        assert error.code == "malformed_answer"


def test_identity_has_no_organization_id_when_the_service_leaves_it_out(azure_devops: SandboxAzureDevOps) -> None:
    document = {"authenticatedUser": {"id": SOME_ID, "customDisplayName": "Build Bot"}}
    azure_devops.plant("status", status=200, headers=JSON, body=document)

    identity = azure_devops.service.fetch_identity(ACCOUNT, HOME)

    assert (identity.user_id, identity.display_name, identity.organization_id) == (SOME_ID, "Build Bot", None)


@pytest.mark.parametrize(("kind", "status"), [("status", 500), ("lost_before", None), ("rate_limited", None)])
def test_verify_decides_nothing_when_the_service_cannot_be_asked(
    azure_devops: SandboxAzureDevOps, kind: str, status: int | None
) -> None:
    pat = azure_devops.add_pat("npm-feed")
    azure_devops.plant(kind, status=status, times=None)
    assert isinstance(fail(lambda: azure_devops.service.verify(HOME, SecretValue(pat.value))), TransientError)

    azure_devops.world.faults.clear()
    azure_devops.plant(kind, status=status, times=2)
    assert azure_devops.service.verify(HOME, SecretValue(pat.value))


# Secrets.


def _everything_in(error: BaseException) -> str:
    """All texts that can be reached from an exception by cause, context, arguments and attributes."""
    pending: list[object] = [error]
    seen: list[object] = []
    texts = ["".join(traceback.format_exception(error))]
    while pending:
        current = pending.pop()
        if any(current is known for known in seen) or isinstance(current, type | type(None) | int):
            continue
        seen.append(current)
        texts += [repr(current), str(current)]
        if isinstance(current, BaseException):
            pending += [current.__cause__, current.__context__, *current.args]
        if isinstance(current, dict):
            pending += [*current.keys(), *current.values()]
        elif isinstance(current, list | tuple | set):
            pending += list(current)
        elif hasattr(current, "__dict__"):
            pending += list(vars(current).values())
    return "\n".join(texts)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("lost_after", None),
        ("truncated", None),
        ("malformed", None),
        ("html", 203),
        ("html", 302),
        ("status", 401),
        ("status", 400),
        ("status", 403),
        ("status", 500),
        ("rate_limited", None),
    ],
)
def test_no_secret_is_in_error_or_log_when_a_call_fails(
    azure_devops: SandboxAzureDevOps, caplog: pytest.LogCaptureFixture, kind: str, status: int | None
) -> None:
    caplog.set_level(logging.DEBUG)
    pat = azure_devops.add_pat("npm-feed")
    bearer = azure_devops.bearers.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE).value.reveal()
    basic = base64.b64encode(f":{pat.value}".encode()).decode()
    end = azure_devops.clock.now() + timedelta(days=1)
    service = azure_devops.service
    operations: list[tuple[str, Callable[[], object]]] = [
        (f"{basic} {pat.value}", lambda: service.verify(HOME, SecretValue(pat.value))),
        (bearer, lambda: service.fetch_identity(ACCOUNT, HOME)),
        (bearer, lambda: service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)),
        (
            bearer,
            lambda: service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed),
        ),
    ]
    texts = []
    for sent, operation in operations:
        # The worst service: it repeats what it was sent.
        azure_devops.world.faults.clear()
        body = {"message": f"you sent {sent}", "typeKey": "Echo"}
        azure_devops.plant(kind, status=status, times=None, headers=JSON, body=body, seconds=500)
        texts.append(_everything_in(fail(operation)))

    minted = [made.value for made in azure_devops.world.pats.values()]
    found = "\n".join([*texts, *(record.getMessage() for record in caplog.records), caplog.text])
    assert [secret for secret in (bearer, basic, *minted) if secret in found] == []
    assert "contoso" in found
    assert kind != "status" or "you sent ***" in found


def test_no_secret_is_in_the_result_when_a_mint_works(azure_devops: SandboxAzureDevOps) -> None:
    minted = mint(azure_devops)

    (made,) = azure_devops.world.pats.values()
    assert minted.value is not None
    assert minted.value.reveal() == made.value
    assert made.value not in repr(minted) + str(minted) + repr(azure_devops.service)


# The service's own ids.


def test_answers_to_changes_have_the_ids_that_the_service_gave_them(azure_devops: SandboxAzureDevOps) -> None:
    minted = mint(azure_devops)
    revoked = azure_devops.service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)
    again = azure_devops.service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)

    for ids in (minted.answer_ids, revoked, again):
        assert set(ids) == {"e2e_id", "activity_id"}
        assert all(len(text) == 36 for text in ids.values())
    assert len({ids["activity_id"] for ids in (minted.answer_ids, revoked, again)}) == 3


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_errors_of_changes_have_the_ids_harmless(azure_devops: SandboxAzureDevOps, method: str, status: int) -> None:
    """Whatever a proxy puts into the headers."""
    pat = azure_devops.add_pat("npm-feed")
    headers = {"X-VSS-E2EID": "e2e;<b>1</b>" + " x" * 900, "ActivityId": "activity-1"}
    azure_devops.plant("status", method, status=status, headers=headers, times=None)

    error = fail(lambda: act(azure_devops, method, pat.authorization_id))

    assert error.answer_ids["activity_id"] == "activity-1"
    assert error.answer_ids["e2e_id"].startswith("e2eb1bxxx")
    assert len(error.answer_ids["e2e_id"]) == 64
