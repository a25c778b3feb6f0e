"""The fake's switches: failures before and after the effect, and mints that take effect late."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.managed_pat import is_pat_shaped
from rotator.errors import RejectedError, TransientError, UnknownOutcomeError
from rotator.ports.pat_service import MintedPat, PatFilter
from rotator.ports.permit import unclaimed
from tests.support.clock import FakeClock
from tests.support.fake_pat_service import FakePatService


@pytest.fixture
def service() -> FakePatService:
    return FakePatService(FakeClock())


def mint(service: FakePatService) -> MintedPat:
    end = FakeClock().now() + timedelta(days=30)
    return service.mint(
        "build-bot", "contoso", display_name="npm-feed", scope="vso.packaging", valid_to=end, permit=unclaimed
    )


@pytest.mark.parametrize(("after_effect", "made"), [(False, 0), (True, 1)])
def test_mint_is_lost_before_or_after_its_effect_when_planned(
    service: FakePatService, after_effect: bool, made: int
) -> None:
    service.fail("mint", after_effect=after_effect)

    with pytest.raises(UnknownOutcomeError):
        mint(service)

    assert len(service.live_pats("npm-feed")) == made
    assert mint(service).value is not None


def test_failure_passes_some_calls_and_strikes_some_when_counted(service: FakePatService) -> None:
    service.fail("mint", KeyboardInterrupt(), skip=1, times=2)

    mint(service)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            mint(service)
    mint(service)

    assert len(service.pats) == 2
    assert service.calls == [("mint", "contoso", "npm-feed")] * 4


def test_list_fails_harmlessly_when_planned(service: FakePatService) -> None:
    service.fail("fetch_pats")
    with pytest.raises(TransientError):
        service.fetch_pats("build-bot", "contoso", PatFilter.ACTIVE)


def test_mint_lands_late_when_postponed(service: FakePatService) -> None:
    service.postpone_mint()
    with pytest.raises(UnknownOutcomeError):
        mint(service)
    assert service.live_pats() == ()

    assert service.apply_late() == 1

    (fake,) = service.live_pats("npm-feed")
    assert is_pat_shaped(fake.value)
    assert service.apply_late() == 0


def test_mint_is_rejected_with_the_error_that_the_organization_is_given(service: FakePatService) -> None:
    service.organizations["contoso"].mint_error = "disablePatCreationPolicyViolation"
    with pytest.raises(RejectedError) as caught:
        mint(service)
    assert caught.value.code == "creation_policy"


def test_revocation_takes_effect_late_when_postponed(service: FakePatService) -> None:
    made = mint(service).pat.authorization_id
    service.postpone_revoke()
    with pytest.raises(UnknownOutcomeError):
        service.revoke("build-bot", "contoso", made, permit=unclaimed)
    assert len(service.live_pats()) == 1
    assert (service.apply_late(), service.live_pats()) == (1, ())
    assert service.apply_late() == 0
