"""What a run asks the server about PATs, once, and what it does not ask again because it cannot work."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

import pytest

from rotator.engine.listing import ServerView
from rotator.errors import DeniedError, TransientError, UnknownOutcomeError
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import ACCOUNT, ORGANIZATION, EngineWorld, make_world


@pytest.mark.parametrize(
    ("status", "code", "is_down"), [(403, "denied", True), (200, "sign_in_page", True), (200, "denied", False)]
)
def test_organization_is_down_when_all_is_denied_and_not_when_one_pat_is(status: int, code: str, is_down: bool) -> None:
    world = make_world()
    view = ServerView(world.make_run())
    error = DeniedError("no", service="azure_devops", operation="mint", status=status, code=code, fix="Ask for it.")
    view.note_error(ACCOUNT, ORGANIZATION, error)
    if not is_down:
        view.prove_reachable(ACCOUNT, ORGANIZATION)
        return
    for ask in (view.prove_reachable, view.fetch_revoked_again):
        with pytest.raises(DeniedError):
            ask(ACCOUNT, ORGANIZATION)
    assert world.count("fetch_pats") == 0


def test_pats_that_the_server_calls_revoked_are_fetched_once_until_they_are_wanted_anew() -> None:
    world = make_world()
    view = ServerView(world.make_run())
    view.look_for(ACCOUNT, ORGANIZATION, "gone")
    before = world.count("fetch_pats")
    view.look_for(ACCOUNT, ORGANIZATION, "gone too")
    assert world.count("fetch_pats") == before + 1, "the list of the active ones is fetched each time"
    view.fetch_revoked_again(ACCOUNT, ORGANIZATION)
    assert world.count("fetch_pats") == before + 2


def make_world_of_two_places() -> EngineWorld:
    """Ten PATs here that expire first, and one in another organization with a vault of its own."""
    world = make_world(*(f"pat-{number}" for number in range(10)))
    world.add_managed("elsewhere", days_left=5, organization="fabrikam")
    return world


@pytest.mark.parametrize("operation", ["fetch_identity", "fetch_pats"])
def test_organization_that_hangs_is_asked_twice_in_a_run_and_holds_up_no_other(operation: str) -> None:
    """Each question may take a minute, and the PATs there wait for one another's."""
    world = make_world_of_two_places()
    fetch, asked = getattr(world.pats, operation), list[str]()

    def hang(account: str, organization: str, *more: object) -> object:
        if organization == ORGANIZATION:
            asked.append(organization)
            world.clock.advance(timedelta(minutes=1))
            raise TransientError("no answer", service="azure_devops", operation=operation, code="read_timeout")
        return fetch(account, organization, *more)

    setattr(world.pats, operation, hang)
    began = world.clock.now()
    world.run()
    assert len(asked) <= 4
    assert world.clock.now() - began < timedelta(minutes=5)
    assert world.record("elsewhere").failures == 0
    setattr(world.pats, operation, fetch)
    world.advance(hours=1)
    world.run()
    assert {world.record(f"pat-{number}").last_failure for number in range(10)} == {None}


@pytest.mark.parametrize(
    ("port", "operations"),
    [
        ("secrets", ("fetch_latest", "fetch_version", "fetch_versions", "prove_writable", "prove_access")),
        ("secrets", ("store",)),
        ("pats", ("mint",)),
    ],
)
def test_place_that_hangs_holds_up_no_other_and_nothing_more_is_begun_there(
    port: str, operations: tuple[str, ...]
) -> None:
    """The vault of all of them, or an organization that says what it has and makes nothing."""
    world, asked = make_world_of_two_places(), list[str]()

    def hang(*_: object, **__: object) -> NoReturn:
        asked.append(port)
        world.clock.advance(timedelta(minutes=1))
        kind = UnknownOutcomeError if operations[0] in ("store", "mint") else TransientError
        service = "key_vault" if port == "secrets" else "azure_devops"
        raise kind("no answer", service=service, operation="ask", code="read_timeout")

    with pytest.MonkeyPatch.context() as patch:
        for operation in operations:
            patch.setattr(getattr(world, port), operation, hang)
        world.run()
    begun = [rotation for rotation in world.rotations() if rotation.organization == ORGANIZATION]
    assert len(begun) <= 2
    assert len(asked) <= 12
    last = world.record("pat-9").last_failure
    assert last is not None
    assert last.message.startswith("nothing was begun")
    world.advance(hours=1)
    for _ in range(3):
        world.advance(minutes=11)
        world.run()
    assert {world.record(f"pat-{number}").last_failure for number in range(10)} == {None}


def test_secrets_that_are_being_changed_hold_up_no_other_of_their_vault() -> None:
    """The vault answers, at once: what it says is about these secrets alone."""
    world = make_world(*(f"pat-{number}" for number in range(5)))
    fetch = world.secrets.fetch_versions

    def refuse(location: SecretLocation) -> object:
        if location.name in ("contoso-pat-0", "contoso-pat-1"):
            raise TransientError("no", service="key_vault", operation="ask", code="vault_conflict", status=409)
        return fetch(location)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.secrets, "fetch_versions", refuse)
        world.run()
    assert [world.record(f"pat-{number}").last_failure is None for number in range(5)] == [False, False, *[True] * 3]
