"""`rotator update` is killed at every HTTP request and at every commit; the next runs finish it."""

from __future__ import annotations

import json

import pytest

from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.sandbox.world import Pat
from tests.support.killing import COMMITS as ROTATION_COMMITS
from tests.support.killing import NAME, Stage, read_commits
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

NEW = "ci-release"
SCOPES = ["vso.build", "vso.release"]
UPDATE = ("update", NAME, "--display-name", NEW, *(word for scope in SCOPES for word in ("--scope", scope)))
COMMITS = [
    "INSERT checkpoint",
    "UPDATE managed_pat",
    "update_started",
    "UPDATE managed_pat",
    *ROTATION_COMMITS[5:-5],
    "values_read",
    "INSERT checkpoint",
]
"""Every commit: what is wanted is written under a claim of its own, then come those of a rotation."""
REQUESTS = (
    IDENTITY,
    LIST,
    SHOW,
    VERSIONS,
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
    REVOKE,
    LIST,
    LIST,
)
"""Every request."""


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


def find_new(stage: Stage) -> list[Pat]:
    """The live PATs of the new name."""
    with stage.world.lock:
        return [pat for pat in stage.world.pats.values() if pat.display_name == NEW and not pat.revoked]


def finish(stage: Stage) -> None:
    """Run until the update is made and the old PAT is gone; if nothing of it was committed, ask again."""
    for _ in range(12):
        run = stage.start("once", "--json")
        assert run.wait() in (0, 1, 3, 11), run.read()
        stage.check_consumers()
        stage.check_secrecy()
        if not stage.find_open_states():
            again = stage.start(*UPDATE, "--json")
            assert again.wait() in (0, 1), again.read()
            if not stage.find_open_states() and not stage.find_ours():
                break
    [current] = find_new(stage)
    assert sorted(current.scope.split()) == SCOPES
    latest = stage.find_latest()
    assert (latest.value, latest.tags[AUTHORIZATION_TAG]) == (current.value, current.authorization_id)
    assert stage.find_ours() == []
    with stage.world.lock:
        revoked = {pat.authorization_id for pat in stage.world.pats.values() if pat.revoked}
    assert not revoked & stage.by_people
    status, audit = stage.start("status", "--json"), stage.start("audit", "verify")
    assert (status.wait(), audit.wait()) == (0, 0), status.read() + audit.read()
    rows = json.loads(status.output.read_text(encoding="utf-8"))["pats"]
    assert [(row["authorization_id"], row["state"]) for row in rows if row["vault"] is not None] == [
        (current.authorization_id, "ok")
    ]
    stage.check_secrecy()


@pytest.mark.sample
def test_update_makes_exactly_the_commits_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*UPDATE, dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == COMMITS
    finish(stage)


@pytest.mark.sample
def test_update_sends_exactly_the_requests_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*UPDATE)
    assert run.wait() == 0, run.read()
    check_requests(stage, REQUESTS)


CASES = list_points(REQUESTS)
SAMPLE = (f"{MINT}-0-after", f"{STORE}-0-after")


@pytest.mark.parametrize(("sent", "skip", "effect"), with_sample(CASES, SAMPLE))
def test_update_is_finished_when_killed_at_a_request(stage: Stage, sent: Sent, skip: int, effect: bool) -> None:
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    run = stage.start_and_hold(*UPDATE)
    if sent in INTENT:
        assert stage.find_open_states() == [INTENT[sent]]
    run.kill()
    stage.check_consumers()
    stage.faults.close()
    finish(stage)


@pytest.mark.parametrize("sent", with_sample({str(sent): (sent,) for sent in (MINT, STORE)}, [str(STORE)]))
def test_update_is_finished_when_the_request_of_a_killed_one_lands_after_its_recovery(stage: Stage, sent: Sent) -> None:
    stage.postpone(sent.service, sent.method, sent.path)
    stage.start_and_hold(*UPDATE).kill()
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
DEATHS_SAMPLE = ("2-update_started-after", "7-pat_minted-before")


@pytest.mark.parametrize(("number", "when"), with_sample(DEATHS, DEATHS_SAMPLE))
def test_update_is_finished_when_killed_at_a_commit(stage: Stage, number: int, when: str) -> None:
    stage.die(when, number, *UPDATE)
    finish(stage)
