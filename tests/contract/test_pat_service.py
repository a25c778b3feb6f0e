"""One suite for both PAT services: the fake of the engine's tests, and the real adapter on the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Protocol

import pytest

from rotator.domain.managed_pat import is_pat_shaped
from rotator.domain.secret_value import SecretValue
from rotator.errors import RejectedError, SignInRequiredError, VerificationError
from rotator.ports.pat_service import MintedPat, PatFilter, PatService
from rotator.ports.permit import unclaimed
from tests.support.azure_devops import ACCOUNT, OTHER_ACCOUNT, SandboxAzureDevOps, run_azure_devops
from tests.support.clock import FakeClock
from tests.support.fake_pat_service import FakePatService

HOME, ELSEWHERE = "contoso", "fabrikam"
UNKNOWN_ID = "0f0f0f0f-1111-4222-8333-444444444444"


class Subject(Protocol):
    """A service, and the power over its organization that a test needs."""

    @property
    def service(self) -> PatService: ...
    def now(self) -> datetime: ...
    def advance(self, by: timedelta) -> None: ...
    def limit(self, longest: timedelta, *, refuse: bool) -> None: ...
    def forbid_full_scope(self) -> None: ...
    def add_global(self, name: str) -> str: ...
    def sign_out(self) -> None: ...


class FakeSubject:
    """The fake service."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.service = FakePatService(self.clock)

    def now(self) -> datetime:
        return self.clock.now()

    def advance(self, by: timedelta) -> None:
        self.clock.advance(by)

    def limit(self, longest: timedelta, *, refuse: bool) -> None:
        home = self.service.organizations[HOME]
        home.max_lifetime, home.refuses_long = longest, refuse

    def forbid_full_scope(self) -> None:
        self.service.organizations[HOME].full_scope_allowed = False

    def add_global(self, name: str) -> str:
        end = self.now() + timedelta(days=5)
        return self.service.add_pat(ACCOUNT, None, name, "vso.code", end).pat.authorization_id

    def sign_out(self) -> None:
        self.service.signed_out.add(ACCOUNT)


class RealSubject:
    """The adapter on the sandbox."""

    def __init__(self, azure_devops: SandboxAzureDevOps) -> None:
        self.azure_devops = azure_devops
        self.service = azure_devops.service

    def now(self) -> datetime:
        return self.azure_devops.clock.now()

    def advance(self, by: timedelta) -> None:
        self.azure_devops.world.clock.advance(by)

    def limit(self, longest: timedelta, *, refuse: bool) -> None:
        home = self.azure_devops.organization
        home.max_lifetime, home.lifetime_mode = longest, "refuse" if refuse else "clamp"

    def forbid_full_scope(self) -> None:
        self.azure_devops.organization.full_scope_allowed = False

    def add_global(self, name: str) -> str:
        return self.azure_devops.add_pat(name, everywhere=True).authorization_id

    def sign_out(self) -> None:
        self.azure_devops.bearers.signed_out.add(ACCOUNT)


@pytest.fixture(scope="module")
def azure_devops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAzureDevOps]:
    with run_azure_devops(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture(params=["fake", "azure_devops"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        yield FakeSubject()
        return
    real: SandboxAzureDevOps = request.getfixturevalue("azure_devops")
    real.start_over()
    yield RealSubject(real)
    real.service.close()


def mint(subject: Subject, name: str = "npm-feed", *, days: int = 30, scope: str = "vso.packaging") -> MintedPat:
    end = (subject.now() + timedelta(days=days)).replace(microsecond=0)
    return subject.service.mint(ACCOUNT, HOME, display_name=name, scope=scope, valid_to=end, permit=unclaimed)


def value_of(minted: MintedPat) -> SecretValue:
    assert minted.value is not None
    return minted.value


def ids(subject: Subject, which: PatFilter, account: str = ACCOUNT) -> list[str]:
    return sorted(pat.authorization_id for pat in subject.service.fetch_pats(account, HOME, which))


def test_mint_gives_what_was_asked_when_nothing_forbids_it(subject: Subject) -> None:
    end = (subject.now() + timedelta(days=30)).replace(microsecond=0)

    minted = subject.service.mint(
        ACCOUNT, HOME, display_name="npm-feed", scope="vso.packaging", valid_to=end, permit=unclaimed
    )

    identity = subject.service.fetch_identity(ACCOUNT, HOME)
    assert is_pat_shaped(value_of(minted).reveal())
    assert minted.pat.display_name == "npm-feed"
    assert minted.pat.scope == "vso.packaging"
    assert minted.pat.valid_to == end
    assert minted.pat.target_accounts == (identity.organization_id,)
    assert subject.service.fetch_pat(ACCOUNT, HOME, minted.pat.authorization_id) == minted.pat
    assert subject.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE) == (minted.pat,)


def test_mint_drops_fractions_when_the_expiry_has_some(subject: Subject) -> None:
    end = subject.now().replace(microsecond=654_321) + timedelta(days=3)

    minted = subject.service.mint(ACCOUNT, HOME, display_name="x", scope="vso.code", valid_to=end, permit=unclaimed)

    assert minted.pat.valid_to == end.replace(microsecond=0)


def test_mint_makes_two_when_the_display_name_is_taken(subject: Subject) -> None:
    first, second = mint(subject), mint(subject)

    assert first.pat.authorization_id != second.pat.authorization_id
    assert not value_of(first).same_as(value_of(second))
    assert ids(subject, PatFilter.ACTIVE) == sorted([first.pat.authorization_id, second.pat.authorization_id])


def test_mint_is_shortened_when_the_lifetime_is_limited(subject: Subject) -> None:
    subject.limit(timedelta(days=7), refuse=False)

    minted = mint(subject, days=30)

    assert minted.pat.lifetime == timedelta(days=7)


@pytest.mark.parametrize(
    ("days", "scope", "name", "code"),
    [
        (30, "vso.code", "x", "lifespan_policy"),
        (5, "app_token", "x", "full_scope_policy"),
        (-1, "vso.code", "x", "lifetime_invalid"),
        (5, "", "x", "scope_invalid"),
        (5, "vso.code", " ", "display_name_invalid"),
    ],
)
def test_mint_is_rejected_when_a_rule_forbids_it(subject: Subject, days: int, scope: str, name: str, code: str) -> None:
    subject.limit(timedelta(days=7), refuse=True)
    subject.forbid_full_scope()

    with pytest.raises(RejectedError) as caught:
        mint(subject, name, days=days, scope=scope)

    assert caught.value.code == code
    assert caught.value.fix
    assert ids(subject, PatFilter.ALL) == []


def test_mint_is_rejected_when_the_organization_is_unknown(subject: Subject) -> None:
    end = subject.now() + timedelta(days=1)

    with pytest.raises(RejectedError) as caught:
        subject.service.mint(
            ACCOUNT, "no-such-place", display_name="x", scope="vso.code", valid_to=end, permit=unclaimed
        )

    assert caught.value.code == "organization_not_found"


def test_list_is_whole_when_it_has_many_pages(subject: Subject) -> None:
    expected = sorted(mint(subject, f"ci-{number}").pat.authorization_id for number in range(230))

    assert ids(subject, PatFilter.ACTIVE) == expected


def test_list_shows_each_state_when_filtered(subject: Subject) -> None:
    revoked, short, long = mint(subject), mint(subject, days=1), mint(subject)
    subject.service.revoke(ACCOUNT, HOME, revoked.pat.authorization_id, permit=unclaimed)
    subject.advance(timedelta(days=2))

    assert ids(subject, PatFilter.ACTIVE) == [long.pat.authorization_id]
    assert ids(subject, PatFilter.REVOKED) == [revoked.pat.authorization_id]
    assert ids(subject, PatFilter.EXPIRED) == [short.pat.authorization_id]
    assert len(ids(subject, PatFilter.ALL)) == 3


def test_list_and_fetch_hide_the_pat_when_another_user_owns_it(subject: Subject) -> None:
    minted = mint(subject)

    assert ids(subject, PatFilter.ALL, OTHER_ACCOUNT) == []
    assert subject.service.fetch_pat(OTHER_ACCOUNT, HOME, minted.pat.authorization_id) is None
    subject.service.revoke(OTHER_ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)
    assert ids(subject, PatFilter.ACTIVE) == [minted.pat.authorization_id]


def test_list_shows_no_targets_when_the_pat_is_for_all_organizations(subject: Subject) -> None:
    authorization_id = subject.add_global("everywhere")

    (pat,) = subject.service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE)

    assert (pat.authorization_id, pat.target_accounts) == (authorization_id, None)


def test_fetch_gives_none_when_the_id_is_unknown(subject: Subject) -> None:
    assert subject.service.fetch_pat(ACCOUNT, HOME, UNKNOWN_ID) is None


def test_fetch_still_shows_the_pat_when_it_is_revoked(subject: Subject) -> None:
    minted = mint(subject)
    subject.service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)

    assert subject.service.fetch_pat(ACCOUNT, HOME, minted.pat.authorization_id) == minted.pat


def test_verify_names_the_owner_when_the_pat_lives(subject: Subject) -> None:
    minted = mint(subject)

    assert subject.service.verify(HOME, value_of(minted)) == subject.service.fetch_identity(ACCOUNT, HOME)
    assert subject.service.fetch_identity(OTHER_ACCOUNT, HOME) != subject.service.fetch_identity(ACCOUNT, HOME)


def test_verify_fails_when_the_pat_is_revoked_expired_foreign_or_nonsense(subject: Subject) -> None:
    revoked, short, long = mint(subject), mint(subject, days=1), mint(subject)
    subject.service.revoke(ACCOUNT, HOME, revoked.pat.authorization_id, permit=unclaimed)
    subject.advance(timedelta(days=2))

    for organization, value in [
        (HOME, value_of(revoked)),
        (HOME, value_of(short)),
        (ELSEWHERE, value_of(long)),
        (HOME, SecretValue("nonsense ✗")),
        (HOME, SecretValue("")),
    ]:
        with pytest.raises(VerificationError) as caught:
            subject.service.verify(organization, value)
        assert caught.value.code == "verification_failed"
        assert caught.value.fix


def test_revoke_ends_the_pat_and_says_nothing_when_repeated_or_unknown(subject: Subject) -> None:
    minted, other = mint(subject), mint(subject)

    subject.service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)
    subject.service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)
    subject.service.revoke(ACCOUNT, HOME, UNKNOWN_ID, permit=unclaimed)

    assert ids(subject, PatFilter.ACTIVE) == [other.pat.authorization_id]


def test_every_operation_asks_for_a_sign_in_when_there_is_none(subject: Subject) -> None:
    subject.sign_out()
    service = subject.service

    operations: list[Callable[[], object]] = [
        lambda: service.fetch_identity(ACCOUNT, HOME),
        lambda: service.fetch_pats(ACCOUNT, HOME, PatFilter.ACTIVE),
        lambda: service.fetch_pat(ACCOUNT, HOME, UNKNOWN_ID),
        lambda: mint(subject),
        lambda: service.revoke(ACCOUNT, HOME, UNKNOWN_ID, permit=unclaimed),
    ]
    for operation in operations:
        with pytest.raises(SignInRequiredError):
            operation()
