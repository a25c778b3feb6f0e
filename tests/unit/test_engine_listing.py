"""What a run asks the server about PATs, once, and what it does not ask again because it cannot work."""

from __future__ import annotations

import pytest

from rotator.engine.listing import ServerView
from rotator.errors import DeniedError
from tests.support.engine import ACCOUNT, ORGANIZATION, make_world


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
