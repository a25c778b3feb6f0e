"""The Azure DevOps stand-in keeps to the described API: shapes, errors, dates, sign-in pages."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests

from rotator.sandbox import seeds
from rotator.sandbox.running import Sandbox
from rotator.sandbox.world import App

SCHEMAS = Path(__file__).with_name("sandbox_schemas")
RESULT_SCHEMAS = {"7.1": "pat_token_result_7_1.json", "7.2": "pat_token_result_7_2.json"}
SUPPRESS = {"X-TFS-FedAuthRedirect": "Suppress"}


def assert_valid(document: object, schema: str) -> None:
    """The document keeps to the schema of this file name."""
    jsonschema.validate(document, json.loads((SCHEMAS / schema).read_text()))


@dataclass
class Caller:
    """A plain HTTP client of the stand-in, signed in as one user, speaking one version."""

    sandbox: Sandbox
    session: requests.Session
    bearer: str
    version: str = "7.1"
    organization: str = seeds.ORGANIZATION
    extra: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, body: object = None, **query: str) -> requests.Response:
        """One request to the PAT resource; `top` stands for `$top`."""
        params = {"api-version": f"{self.version}-preview.1"}
        params |= {"$top" if name == "top" else name: value for name, value in query.items()}
        url = f"{self.sandbox.addresses.azure_devops_url}/{self.organization}/_apis/tokens/pats"
        headers = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        return self.session.request(
            method,
            url,
            params=params,
            json=body,
            headers=headers | self.extra,
            allow_redirects=False,
            timeout=10,
        )

    def result(self, method: str, body: object = None, **query: str) -> dict[str, object]:
        """The checked document of an operation on one PAT."""
        response = self.send(method, body, **query)
        assert response.status_code == 200
        document: dict[str, object] = response.json()
        assert_valid(document, RESULT_SCHEMAS[self.version])
        return document

    def create(self, **changes: object) -> dict[str, object]:
        """The checked answer to a creation."""
        end = datetime.now(UTC) + timedelta(days=30)
        wish: dict[str, object] = {
            "displayName": "ci",
            "scope": "vso.code",
            "validTo": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "allOrgs": False,
        }
        return self.result("POST", wish | changes)

    def created(self, **changes: object) -> dict[str, Any]:
        """The PAT of a creation that must succeed."""
        pat = self.create(**changes)["patToken"]
        assert isinstance(pat, dict)
        return pat

    def listed(self, **query: str) -> list[str]:
        """Display names of all pages of a list."""
        names: list[str] = []
        token = ""
        while True:
            response = self.send("GET", **query, continuationToken=token)
            assert response.status_code == 200
            assert_valid(response.json(), "paged_pat_tokens.json")
            names += [pat["displayName"] for pat in response.json()["patTokens"]]
            token = response.json()["continuationToken"]
            if not token:
                return names

    def connect(self, value: str, organization: str = seeds.ORGANIZATION) -> requests.Response:
        """connectionData with a PAT."""
        url = f"{self.sandbox.addresses.azure_devops_url}/{organization}/_apis/connectionData"
        return self.session.get(url, auth=("", value), allow_redirects=False, timeout=10)


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    """A caller signed in as the build bot of a sandbox without demo PATs."""
    with Sandbox(tmp_path, seed_demo=False) as sandbox, requests.Session() as session:
        session.trust_env = False
        session.verify = str(sandbox.addresses.ca_path)
        yield Caller(sandbox, session, bearer_of(sandbox, seeds.USERNAME))


def bearer_of(sandbox: Sandbox, username: str, resource: str = "azure_devops") -> str:
    """A fresh access token of the user."""
    user = sandbox.world.user_named(username)
    assert user is not None
    return sandbox.world.issue_access_token(user, resource, seeds.CLIENT_ID).value


@pytest.mark.parametrize("version", ["7.1", "7.2"])
def test_creation_shows_the_value_once_when_granted(caller: Caller, version: str) -> None:
    caller.version = version
    pat = caller.created(displayName="ci", validTo="2099-01-31T23:46:23.319Z")
    assert re.fullmatch(r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}", pat["token"])
    assert pat["validTo"] == "2099-01-31T23:46:23.32Z"
    assert pat["targetAccounts"] == [seeds.ORGANIZATION_ID]
    again = caller.result("GET", authorizationId=pat["authorizationId"])["patToken"]
    assert again == pat | {"token": None}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"displayName": " "}, "displayNameRequired"),
        ({"displayName": "a\nb"}, "invalidDisplayName"),
        ({"scope": "vso.cod"}, "invalidScope"),
        ({"scope": ""}, "invalidScope"),
        ({"validTo": "2020-01-01T00:00:00Z"}, "invalidValidTo"),
        ({"validTo": "tomorrow"}, "invalidValidTo"),
    ],
)
def test_creation_is_refused_by_name_when_wish_is_bad(caller: Caller, changes: dict[str, object], error: str) -> None:
    answer = caller.create(**changes)
    assert (answer["patToken"], answer["patTokenError"]) == (None, error)
    assert not caller.sandbox.world.pats


@pytest.mark.parametrize(
    ("policy", "changes", "old_error", "new_error"),
    [
        ({}, {"allOrgs": True}, "globalPatPolicyViolation", "globalPATCreationBlocked"),
        (
            {"global_pats": "policy_violation"},
            {"allOrgs": True},
            "globalPatPolicyViolation",
            "globalPatPolicyViolation",
        ),
        (
            {"full_scope_allowed": False},
            {"scope": "app_token"},
            "fullScopePatPolicyViolation",
            "fullScopePatPolicyViolation",
        ),
        (
            {"max_lifetime": timedelta(days=7), "lifetime_mode": "refuse"},
            {},
            "patLifespanPolicyViolation",
            "patLifespanPolicyViolation",
        ),
        ({"creation_allowed": False}, {}, "accessDenied", "disablePatCreationPolicyViolation"),
    ],
)
def test_creation_names_the_policy_when_one_is_violated(
    caller: Caller,
    policy: dict[str, object],
    changes: dict[str, object],
    old_error: str,
    new_error: str,
) -> None:
    for name, value in policy.items():
        setattr(caller.sandbox.world.organizations[seeds.ORGANIZATION], name, value)
    assert caller.create(**changes)["patTokenError"] == old_error
    caller.version = "7.2"
    answer = caller.create(**changes)
    assert answer["patTokenError"] == new_error
    assert answer["patTokenErrorMessage"]
    assert not caller.sandbox.world.pats


def test_creation_passes_the_exempt_scopes_when_creation_is_restricted(caller: Caller) -> None:
    organization = caller.sandbox.world.organizations[seeds.ORGANIZATION]
    organization.creation_allowed, organization.creation_scopes = False, ("vso.packaging",)
    assert caller.create(scope="vso.packaging")["patTokenError"] == "none"
    assert caller.create(scope="vso.code")["patTokenError"] == "accessDenied"


def test_creation_clamps_the_lifetime_when_policy_has_a_maximum(caller: Caller) -> None:
    caller.sandbox.world.organizations[seeds.ORGANIZATION].max_lifetime = timedelta(days=7)
    pat = caller.created(validTo="2099-01-01T00:00:00Z")
    start, end = (datetime.fromisoformat(pat[name]) for name in ("validFrom", "validTo"))
    # Both ends are kept at 1/300 s, which a datetime holds to the microsecond only.
    assert abs(end - start - timedelta(days=7)) <= timedelta(microseconds=2)


def test_update_changes_the_named_fields_and_hides_the_value_when_active(caller: Caller) -> None:
    pat = caller.created()
    changed = caller.result("PUT", {"authorizationId": pat["authorizationId"], "displayName": "renamed"})
    assert changed["patToken"] == pat | {"displayName": "renamed", "token": None}


def test_update_is_refused_when_pat_is_revoked_or_expired(caller: Caller) -> None:
    revoked, expired = caller.created(), caller.created()
    caller.send("DELETE", authorizationId=revoked["authorizationId"])
    change = {"validTo": "2099-01-01T00:00:00Z"}
    answer = caller.result("PUT", change | {"authorizationId": revoked["authorizationId"]})
    assert answer["patTokenError"] == "failedToUpdateAccessToken"
    caller.sandbox.world.clock.advance(timedelta(days=31))
    caller.bearer = bearer_of(caller.sandbox, seeds.USERNAME)
    caller.version = "7.2"
    answer = caller.result("PUT", change | {"authorizationId": expired["authorizationId"]})
    assert answer["patTokenError"] == "expiredPatCannotBeExtended"


def test_revocation_answers_204_then_404_when_repeated(caller: Caller) -> None:
    pat = caller.created()
    first = caller.send("DELETE", authorizationId=pat["authorizationId"])
    assert (first.status_code, first.content) == (204, b"")
    second = caller.send("DELETE", authorizationId=pat["authorizationId"])
    assert second.status_code == 404
    assert second.json() == {"patToken": None, "patTokenError": "tokenNotFound"}


@pytest.mark.parametrize(
    ("identifier", "error"),
    [("no-uuid", "invalidAuthorizationId"), (seeds.USER_ID, "authorizationNotFound")],
)
def test_get_names_the_error_when_id_is_unknown(caller: Caller, identifier: str, error: str) -> None:
    assert caller.result("GET", authorizationId=identifier)["patTokenError"] == error


def test_list_filters_by_status_when_asked(caller: Caller) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    caller.created(displayName="short", validTo=f"{end:%Y-%m-%dT%H:%M:%SZ}")
    caller.created(displayName="alive")
    caller.send("DELETE", authorizationId=caller.created(displayName="gone")["authorizationId"])
    caller.sandbox.world.clock.advance(timedelta(days=2))
    caller.bearer = bearer_of(caller.sandbox, seeds.USERNAME)
    assert caller.listed(displayFilterOption="active") == ["alive"]
    assert caller.listed(displayFilterOption="revoked") == ["gone"]
    assert caller.listed(displayFilterOption="expired") == ["short"]
    assert sorted(caller.listed(displayFilterOption="all")) == ["alive", "gone", "short"]
    assert sorted(caller.listed()) == ["alive", "gone", "short"]


@pytest.mark.parametrize("ascending", ["true", "false"])
def test_list_pages_through_everything_once_when_pages_are_small(caller: Caller, ascending: str) -> None:
    names = [f"pat-{number}" for number in range(7)]
    for name in names:
        caller.created(displayName=name)
    listed = caller.listed(top="3", sortByOption="displayName", isSortAscending=ascending)
    assert listed == (names if ascending == "true" else names[::-1])
    assert sorted(caller.listed(top="2")) == names


def test_list_caps_the_page_when_more_than_100_are_wanted(caller: Caller) -> None:
    world = caller.sandbox.world
    user, now = world.users[seeds.USER_ID], world.clock.now()
    for number in range(101):
        world.add_pat(user, f"pat-{number}", "vso.code", (), now, now + timedelta(days=1))
    for pat in world.pats.values():
        pat.target_accounts = (seeds.ORGANIZATION_ID,)
    assert len(caller.send("GET", top="5000").json()["patTokens"]) == 100
    assert len(caller.listed(top="100")) == 101


def test_list_refuses_a_continuation_when_filters_changed(caller: Caller) -> None:
    for name in ("a", "b"):
        caller.created(displayName=name)
    token = caller.send("GET", top="1", displayFilterOption="active").json()["continuationToken"]
    assert caller.send("GET", top="1", continuationToken=token).status_code == 400
    assert caller.send("GET", continuationToken="no token").status_code == 400


@pytest.mark.parametrize(
    "query",
    [{"displayFilterOption": "alive"}, {"sortByOption": "age"}, {"isSortAscending": "1"}, {"top": "0"}],
)
def test_list_is_refused_when_query_is_malformed(caller: Caller, query: dict[str, str]) -> None:
    response = caller.send("GET", **query)
    assert response.status_code == 400
    assert response.json()["typeKey"] == "VssPropertyValidationException"


def test_list_shows_own_pats_of_all_organizations_when_asked_in_one(caller: Caller) -> None:
    other = Caller(caller.sandbox, caller.session, bearer_of(caller.sandbox, seeds.OTHER_USERNAME))
    foreign = other.created(displayName="not yours")
    caller.created(displayName="here")
    caller.organization = seeds.OTHER_ORGANIZATION
    there = caller.created(displayName="there")
    assert there["targetAccounts"] == [seeds.OTHER_ORGANIZATION_ID]
    assert sorted(caller.listed()) == ["here", "there"]
    answer = caller.result("GET", authorizationId=foreign["authorizationId"])
    assert answer["patTokenError"] == "authorizationNotFound"
    assert caller.send("DELETE", authorizationId=foreign["authorizationId"]).status_code == 404
    assert other.listed() == ["not yours"]


@pytest.mark.parametrize(
    ("version", "type_key"),
    [
        ("", "VssVersionNotSpecifiedException"),
        ("7.1", "VssInvalidPreviewVersionException"),
        ("9.9-preview.1", "VssVersionOutOfRangeException"),
        ("new", "VssVersionFormatException"),
    ],
)
def test_request_is_refused_when_api_version_is_wrong(caller: Caller, version: str, type_key: str) -> None:
    response = caller.send("GET", **{"api-version": version})
    assert response.status_code == 400
    assert response.json()["typeKey"] == type_key


def test_sign_in_page_comes_in_place_of_an_answer_when_credential_is_bad(caller: Caller) -> None:
    caller.bearer = "eyJ.not.known"
    page = caller.send("GET")
    assert (page.status_code, page.headers["Content-Type"]) == (203, "text/html; charset=utf-8")
    caller.bearer = ""
    redirect = caller.send("GET")
    assert (redirect.status_code, "_signin" in redirect.headers["Location"]) == (302, True)


def test_refusal_is_401_behind_a_byte_order_mark_when_redirects_are_suppressed(caller: Caller) -> None:
    caller.extra = SUPPRESS
    caller.bearer = "eyJ.not.known"
    response = caller.send("GET")
    assert response.status_code == 401
    assert response.content.startswith(b"\xef\xbb\xbf")
    assert json.loads(response.content.decode("utf-8-sig"))["message"].startswith("TF400813")


def test_bearer_is_refused_when_of_another_resource_or_expired(caller: Caller) -> None:
    caller.extra = SUPPRESS
    good, caller.bearer = caller.bearer, bearer_of(caller.sandbox, seeds.USERNAME, "key_vault")
    assert caller.send("GET").status_code == 401
    caller.bearer = good
    assert caller.send("GET").status_code == 200
    caller.sandbox.world.clock.advance(timedelta(hours=2))
    assert caller.send("GET").status_code == 401


def test_pat_is_no_credential_when_sent_to_the_pat_resource(caller: Caller) -> None:
    value = caller.created()["token"]
    coded = base64.b64encode(f":{value}".encode()).decode()
    caller.bearer, caller.extra = "", SUPPRESS | {"Authorization": f"Basic {coded}"}
    assert caller.send("GET").status_code == 401


def test_service_principal_is_refused_when_it_asks(caller: Caller) -> None:
    app = App("c0ffee00-0000-4000-8000-000000000000", seeds.TENANT_ID, secret="not a real one")
    caller.bearer = caller.sandbox.world.issue_access_token(app, "azure_devops", app.client_id).value
    response = caller.send("GET")
    assert response.status_code == 403
    assert response.json()["typeKey"] == "InvalidAccessException"
    assert response.json()["message"] == "Service principals are not allowed to perform this action."


def test_outsider_is_refused_when_not_a_member_or_disabled(caller: Caller) -> None:
    world = caller.sandbox.world
    world.organizations[seeds.ORGANIZATION].members = {seeds.OTHER_USER_ID}
    assert caller.send("GET").status_code == 401
    world.organizations[seeds.ORGANIZATION].members = None
    assert caller.send("GET").status_code == 200
    world.users[seeds.USER_ID].enabled = False
    assert caller.send("GET").status_code == 401


def test_unknown_places_answer_404_when_asked(caller: Caller) -> None:
    caller.organization = "nobody"
    assert caller.send("GET").json()["typeKey"] == "HostDoesNotExistException"
    url = f"{caller.sandbox.addresses.azure_devops_url}/contoso/_apis/projects"
    assert caller.session.get(url, timeout=10).status_code == 404


def test_connection_data_names_the_user_when_pat_is_alive(caller: Caller) -> None:
    response = caller.connect(caller.created()["token"])
    assert response.status_code == 200
    user = response.json()["authenticatedUser"]
    assert user["providerDisplayName"] == "Build Bot"
    assert user["properties"]["Account"]["$value"] == seeds.USERNAME
    assert response.json()["instanceId"] == seeds.ORGANIZATION_ID


def test_connection_data_names_the_user_when_asked_with_a_bearer(caller: Caller) -> None:
    url = f"{caller.sandbox.addresses.azure_devops_url}/contoso/_apis/connectionData"
    response = caller.session.get(url, headers={"Authorization": f"Bearer {caller.bearer}"}, timeout=10)
    assert response.json()["authenticatedUser"]["properties"]["Account"]["$value"] == seeds.USERNAME


def test_connection_data_is_401_and_empty_when_pat_is_dead(caller: Caller) -> None:
    revoked, alive = caller.created(), caller.created()
    caller.send("DELETE", authorizationId=revoked["authorizationId"])
    refusals = [
        caller.connect(revoked["token"]),
        caller.connect("x" * 84),
        caller.connect(alive["token"], seeds.OTHER_ORGANIZATION),
    ]
    caller.sandbox.world.clock.advance(timedelta(days=31))
    refusals.append(caller.connect(alive["token"]))
    assert [(answer.status_code, answer.content) for answer in refusals] == [(401, b"")] * 4


def test_all_organization_pat_dies_when_december_2026_has_come(caller: Caller) -> None:
    world = caller.sandbox.world
    day = datetime(2026, 1, 1, tzinfo=UTC)
    pat = world.add_pat(world.users[seeds.USER_ID], "everywhere", "vso.code", None, day, day + timedelta(days=36500))
    # Reckoned from now, so that the test holds on any date: before the end it works, after it does not.
    end = datetime(2026, 12, 1, tzinfo=UTC)
    if world.clock.now() < end:
        assert caller.connect(pat.value, seeds.OTHER_ORGANIZATION).status_code == 200
        world.clock.advance(end - world.clock.now() + timedelta(seconds=1))
    assert caller.connect(pat.value).status_code == 401
