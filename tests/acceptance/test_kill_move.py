"""`rotator inventory move` is killed at every HTTP request and at every commit; the next runs finish it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rotator.engine.tags import ACCOUNT_TAG, AUTHORIZATION_TAG
from rotator.sandbox.seeds import OTHER_USER_ID, OTHER_USERNAME, USER_ID
from tests.support.killing import COMMITS as ROTATION_COMMITS
from tests.support.killing import NAME, Stage, open_stage, read_commits
from tests.support.proving import with_sample
from tests.support.sent import (
    IDENTITY,
    INTENT,
    LIST,
    MINT,
    READ,
    REVOKE,
    SHOW,
    STORE,
    TAG,
    VERSIONS,
    WRITTEN,
    Sent,
    check_requests,
    list_points,
)

pytestmark = pytest.mark.prove

HEIR = "heir"
MOVE = ("inventory", "move", NAME, "--account", HEIR, "--yes")
COMMITS = [
    "INSERT checkpoint",
    "settings_changed",
    "UPDATE managed_pat",
    "move_started",
    "UPDATE managed_pat",
    *ROTATION_COMMITS[5:-5],
    "values_read",
    "INSERT checkpoint",
]
"""Every commit: what is wanted is written under a claim of its own, then come those of a rotation."""
METADATA = Sent("entra", "GET", "/openid-configuration")
TOKEN = Sent("entra", "POST", "/token")
REQUESTS = (
    IDENTITY,
    LIST,
    IDENTITY,
    LIST,
    SHOW,
    VERSIONS,
    METADATA,
    TOKEN,
    VERSIONS,
    VERSIONS,
    READ,
    TAG,
    MINT,
    SHOW,
    IDENTITY,
    STORE,
    WRITTEN,
    READ,
    READ,
    VERSIONS,
    IDENTITY,
    SHOW,
    LIST,
    LIST,
    SHOW,
    LIST,
    LIST,
    REVOKE,
    LIST,
    LIST,
)
"""Every request: each account is asked who it is, and for its list. The vault is asked as the new one."""


@pytest.fixture(scope="module")
def two_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with another account that is signed in."""
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.add_account(HEIR, OTHER_USERNAME)
        yield stage


@pytest.fixture
def stage(two_accounts: Stage) -> Stage:
    """Reset the stage."""
    two_accounts.reset()
    return two_accounts


def finish(stage: Stage) -> None:
    """Run until the move is made and the old PAT is gone; if nothing of it was committed, ask again."""
    for _ in range(12):
        run = stage.start("once", "--json")
        assert run.wait() in (0, 1, 3, 11), run.read()
        stage.check_consumers()
        stage.check_secrecy()
        if not stage.find_open_states():
            again = stage.start(*MOVE, "--json")
            assert again.wait() in (0, 1), again.read()
            if not stage.find_open_states() and {pat.user_id for pat in stage.find_ours()} == {OTHER_USER_ID}:
                break
    [current] = stage.find_ours()
    latest = stage.find_latest()
    assert (current.user_id, latest.value) == (OTHER_USER_ID, current.value)
    assert (latest.tags[AUTHORIZATION_TAG], latest.tags[ACCOUNT_TAG]) == (current.authorization_id, HEIR)
    with stage.world.lock:
        revoked = {pat.authorization_id for pat in stage.world.pats.values() if pat.revoked}
    assert not revoked & stage.by_people
    status, audit = stage.start("status", "--json"), stage.start("audit", "verify")
    assert (status.wait(), audit.wait()) == (0, 0), status.read() + audit.read()
    rows = json.loads(status.output.read_text(encoding="utf-8"))["pats"]
    assert [(row["authorization_id"], row["account"], row["state"]) for row in rows if row["vault"] is not None] == [
        (current.authorization_id, HEIR, "ok")
    ]
    stage.check_secrecy()


@pytest.mark.sample
def test_move_makes_exactly_the_commits_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*MOVE, dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == COMMITS
    finish(stage)


@pytest.mark.sample
def test_move_sends_exactly_the_requests_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*MOVE)
    assert run.wait() == 0, run.read()
    check_requests(stage, REQUESTS)
    assert {pat.user_id for pat in stage.world.pats.values() if pat.revoked} <= {USER_ID}


CASES = list_points(REQUESTS)
SAMPLE = (f"{STORE}-0-after",)


@pytest.mark.parametrize(("sent", "skip", "effect"), with_sample(CASES, SAMPLE))
def test_move_is_finished_when_killed_at_a_request(stage: Stage, sent: Sent, skip: int, effect: bool) -> None:
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    run = stage.start_and_hold(*MOVE)
    if sent in INTENT:
        assert stage.find_open_states() == [INTENT[sent]]
    run.kill()
    stage.check_consumers()
    stage.faults.close()
    finish(stage)


@pytest.mark.parametrize("sent", with_sample({str(sent): (sent,) for sent in (MINT, STORE)}, []))
def test_move_is_finished_when_the_request_of_a_killed_one_lands_after_its_recovery(stage: Stage, sent: Sent) -> None:
    stage.postpone(sent.service, sent.method, sent.path)
    stage.start_and_hold(*MOVE).kill()
    for _ in range(12):
        run = stage.start("once")
        assert run.wait() in (0, 1, 3, 11), run.read()
        if not stage.find_open_states():
            break
    stage.land()
    finish(stage)


DEATHS = {
    f"{number}-{commit}-{when}": (number, when) for number, commit in enumerate(COMMITS) for when in ("before", "after")
}
DEATHS_SAMPLE = ("3-move_started-after",)


@pytest.mark.parametrize(("number", "when"), with_sample(DEATHS, DEATHS_SAMPLE))
def test_move_is_finished_when_killed_at_a_commit(stage: Stage, number: int, when: str) -> None:
    stage.die(when, number, *MOVE)
    finish(stage)
