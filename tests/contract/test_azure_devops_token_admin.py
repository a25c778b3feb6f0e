"""The adapter for an administrator's view of an organization, on the sandbox and on answers that are odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rotator.adapters.azure_devops.token_admin import PAGE_SIZE, AzureDevOpsTokenAdmin, parse_user
from rotator.adapters.http_options import HttpOptions
from rotator.domain.user_pats import OrganizationUser
from rotator.errors import DeniedError, RejectedError, TransientError, UnknownOutcomeError
from rotator.sandbox import seeds
from rotator.sandbox.azure_devops_admin import make_descriptor
from tests.support.azure_devops import ACCOUNT, OTHER_ACCOUNT, SandboxAzureDevOps, run_azure_devops
from tests.support.stop import make_stop

HOME = seeds.ORGANIZATION
JSON = {"Content-Type": "application/json"}
USERS, PATS, REVOCATIONS = "/graph/users", "/tokenadmin/personalaccesstokens", "/tokenadmin/revocations"


class Desk:
    """The adapter on the sandbox, where `build-bot` is an administrator of `contoso`."""

    def __init__(self, azure_devops: SandboxAzureDevOps) -> None:
        self.sandbox = azure_devops
        clock, options = azure_devops.clock, HttpOptions(azure_devops.sandbox.addresses.ca_path)
        url = azure_devops.sandbox.addresses.azure_devops_url
        self.admin = AzureDevOpsTokenAdmin(url, azure_devops.bearers, options, clock, clock, make_stop(clock))
        azure_devops.organization.token_admins = {seeds.USER_ID}
        self.owner = self.find(seeds.OTHER_USERNAME)

    def find(self, username: str) -> OrganizationUser:
        user = self.sandbox.world.user_named(username)
        assert user is not None
        return OrganizationUser(make_descriptor(user), username)

    def list(self, account: str = ACCOUNT) -> list[str]:
        """The names of the other user's PATs."""
        return sorted(pat.display_name for pat in self.admin.fetch_user_pats(account, HOME, self.owner))

    def answer(self, path: str, *pages: object, status: int = 200) -> None:
        for page in pages:
            self.sandbox.plant("status", None, path, status=status, headers=JSON, body=json.dumps(page).encode())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAzureDevOps]:
    with run_azure_devops(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def desk(sandbox: SandboxAzureDevOps) -> Iterator[Desk]:
    sandbox.start_over()
    app = sandbox.world.apps[seeds.CLIENT_ID]
    sandbox.world.apps[seeds.CLIENT_ID] = replace(app)
    made = Desk(sandbox)
    yield made
    sandbox.world.apps[seeds.CLIENT_ID] = app
    sandbox.world.users[seeds.OTHER_USER_ID].deleted = False
    made.admin.close()
    sandbox.service.close()


def test_users_are_listed_by_the_header_that_names_the_next_page(desk: Desk) -> None:
    desk.sandbox.organization.graph_page = 1
    desk.sandbox.world.users[seeds.OTHER_USER_ID].deleted = True
    found = desk.admin.fetch_users(ACCOUNT, HOME)
    assert [(user.name, user.is_deleted, user.is_service) for user in found.users] == [
        (seeds.USERNAME, False, False),
        (seeds.OTHER_USERNAME, True, False),
        (seeds.ORGANIZATION_ID, False, True),
    ]
    assert found.unreadable == 0
    assert len(desk.sandbox.requests("GET")) == 3


def test_pats_of_a_user_are_listed_to_the_last_page(desk: Desk) -> None:
    names = [f"pat-{number:03}" for number in range(PAGE_SIZE + 7)]
    for name in names:
        desk.sandbox.add_pat(name, OTHER_ACCOUNT)
    desk.sandbox.add_pat("gone", OTHER_ACCOUNT).revoked = True
    desk.sandbox.add_pat("mine")
    desk.sandbox.add_pat("everywhere", OTHER_ACCOUNT, everywhere=True)
    assert desk.list() == ["everywhere", *names]


def test_only_an_administrator_may_list_and_revoke(desk: Desk) -> None:
    desk.sandbox.organization.token_admins = {seeds.OTHER_USER_ID}
    for act in (desk.list, lambda: desk.admin.revoke(ACCOUNT, HOME, seeds.ORGANIZATION_ID)):
        with pytest.raises(DeniedError) as caught:
            act()
        assert caught.value.code == "token_admin_denied"
        assert "Project Collection Administrator of contoso" in caught.value.fix
        assert "`vso.tokenadministration`" in caught.value.fix
    assert desk.list(OTHER_ACCOUNT) == []


@pytest.mark.parametrize("missing", ["vso.graph", "vso.tokenadministration"])
def test_application_needs_the_scope(desk: Desk, missing: str) -> None:
    scopes = {"vso.graph", "vso.tokenadministration", "vso.pats"}
    desk.sandbox.world.apps[seeds.CLIENT_ID].permissions = tuple(scopes - {missing})
    act = desk.list if missing == "vso.tokenadministration" else lambda: desk.admin.fetch_users(ACCOUNT, HOME)
    with pytest.raises(DeniedError, match=r"refused to list") as caught:
        act()
    assert f"`{missing}`" in caught.value.fix


def test_refusal_of_one_user_is_a_denial(desk: Desk) -> None:
    desk.answer(PATS, {"typeKey": "AccessCheckException", "message": "no"}, status=403)
    with pytest.raises(DeniedError):
        desk.list()
    assert desk.list() == []


def test_user_who_left_meanwhile_is_no_empty_list(desk: Desk) -> None:
    stranger = OrganizationUser("aad.bm9ib2R5", "nobody")
    with pytest.raises(RejectedError) as caught:
        desk.admin.fetch_user_pats(ACCOUNT, HOME, stranger)
    assert caught.value.code == "user_not_found"


def test_revocation_is_sent_once_as_a_list(desk: Desk) -> None:
    pat = desk.sandbox.add_pat("leaked", OTHER_ACCOUNT)
    ids = desk.admin.revoke(ACCOUNT, HOME, pat.authorization_id)
    assert set(ids) == {"e2e_id", "activity_id"}
    assert pat.revoked
    [sent] = desk.sandbox.requests("POST")
    assert json.loads(sent.body) == [{"authorizationId": pat.authorization_id}]
    assert sent.query["isPublic"] == "false"


def test_lost_answer_of_a_revocation_is_an_unknown_outcome_and_not_repeated(desk: Desk) -> None:
    pat = desk.sandbox.add_pat("leaked", OTHER_ACCOUNT)
    desk.sandbox.plant("lost_after", "POST", REVOCATIONS)
    with pytest.raises(UnknownOutcomeError):
        desk.admin.revoke(ACCOUNT, HOME, pat.authorization_id)
    assert len(desk.sandbox.requests("POST")) == 1


@pytest.mark.parametrize("page", [[], {}, {"value": None}, {"value": [], "continuationToken": 7}])
def test_page_that_is_none_is_malformed(desk: Desk, page: object) -> None:
    for path, act in ((USERS, lambda: desk.admin.fetch_users(ACCOUNT, HOME)), (PATS, desk.list)):
        desk.answer(path, page)
        with pytest.raises(TransientError) as caught:
            act()
        assert caught.value.code == "malformed_answer"


def test_list_that_names_the_same_page_again_is_incomplete(desk: Desk) -> None:
    page = {"value": [], "continuationToken": "again"}
    desk.answer(PATS, page, page)
    with pytest.raises(TransientError) as caught:
        desk.list()
    assert caught.value.code == "listing_incomplete"


def test_odd_entries_are_counted_and_harm_nobody(desk: Desk) -> None:
    good = {"descriptor": "aad.x", "displayName": "Some\nOne"}
    desk.answer(USERS, {"value": [7, {}, {"descriptor": "a\u0000b"}, {"descriptor": ""}, good]})
    found = desk.admin.fetch_users(ACCOUNT, HOME)
    assert ([user.name for user in found.users], found.unreadable) == (["Some\ufffdOne"], 4)
    desk.answer(PATS, {"value": [7, {"isValid": True, "authorizationId": seeds.USER_ID}, {"isValid": False}]})
    listed = desk.admin.fetch_user_pats(ACCOUNT, HOME, desk.owner)
    assert (tuple(listed), listed.unreadable) == ((), ("", seeds.USER_ID))


def test_user_without_a_name_is_called_by_the_descriptor() -> None:
    user = parse_user({"descriptor": "msa.y", "principalName": "", "isDeletedInOrigin": "true"})
    assert user == OrganizationUser("msa.y", "msa.y")
