"""`rotator create` is killed at every HTTP request and at every commit; the next runs finish it."""

from __future__ import annotations

import json

import pytest

from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.sandbox.seeds import ORGANIZATION, VAULT
from rotator.sandbox.world import Pat
from tests.support.killing import Stage, read_commits
from tests.support.proving import with_sample
from tests.support.sent import (
    DELETED,
    IDENTITY,
    LIST,
    MINT,
    READ,
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

NEW = "deploy"
CREATE = (
    *("create", NEW, "--account", "build-bot", "--organization", ORGANIZATION),
    *("--scope", "vso.release", "--scope", "vso.code", "--lifetime", "30d"),
)
CREATION = (
    IDENTITY,
    LIST,
    VERSIONS,
    VERSIONS,
    VERSIONS,
    VERSIONS,
    READ,
    TAG,
    DELETED,
    MINT,
    SHOW,
    IDENTITY,
    STORE,
    WRITTEN,
    READ,
)
"""Every request to Azure DevOps and Key Vault in order."""
COMMITS = [
    "INSERT checkpoint",
    "creation_started",
    "UPDATE managed_pat",
    "rotation_planned",
    "mint_started",
    "pat_minted",
    "pat_verified",
    "store_started",
    "secret_stored",
    "rotation_completed",
    "UPDATE managed_pat",
    "values_read",
    "INSERT checkpoint",
]
"""Every commit: the third takes the claim, the last but two gives it back; around them the audit log is sealed."""


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


def find_new(stage: Stage) -> list[Pat]:
    """The live PATs of that name."""
    with stage.world.lock:
        return [pat for pat in stage.world.pats.values() if pat.display_name == NEW and not pat.revoked]


def finish(stage: Stage) -> None:
    """Run until nothing is open; where even the record was not committed, the person asks again. Check the end."""
    stage.check_secrecy()
    stage.run_until_at_rest()
    names = [str(pat["name"]) for pat in list_records(stage)]
    if NEW not in names:
        assert find_new(stage) == []
        again = stage.start(*CREATE)
        assert again.wait() == 0, again.read()
    stage.run_until_at_rest()
    stage.check_end()
    [current] = find_new(stage)
    assert sorted(current.scope.split()) == ["vso.code", "vso.release"]
    with stage.world.lock:
        latest = stage.world.vaults[VAULT].secrets[f"{ORGANIZATION}-{NEW}"].versions[-1]
    assert (latest.value, latest.tags[AUTHORIZATION_TAG]) == (current.value, current.authorization_id)
    [record] = [pat for pat in list_records(stage) if pat["name"] == NEW]
    assert (record["authorization_id"], record["last_error"]) == (current.authorization_id, None)


def list_records(stage: Stage) -> list[dict[str, object]]:
    """What is in the inventory."""
    listing = stage.start("inventory", "list", "--json")
    assert listing.wait() == 0, listing.read()
    pats: list[dict[str, object]] = json.loads(listing.output.read_text(encoding="utf-8"))["pats"]
    return pats


@pytest.mark.sample
def test_creation_makes_exactly_the_requests_and_commits_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*CREATE, dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == COMMITS
    check_requests(stage, CREATION)
    finish(stage)


CASES = list_points(CREATION)
SAMPLE = (f"{MINT}-0-after", f"{STORE}-0-after", f"{READ}-1-before")


@pytest.mark.parametrize(("sent", "skip", "effect"), with_sample(CASES, SAMPLE))
def test_creation_is_finished_when_killed_at_a_request(stage: Stage, sent: Sent, skip: int, effect: bool) -> None:
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    stage.start_and_hold(*CREATE).kill()
    stage.faults.close()
    finish(stage)


@pytest.mark.parametrize("sent", with_sample({str(sent): (sent,) for sent in (MINT, STORE)}, [str(MINT)]))
def test_creation_is_finished_when_the_request_of_a_killed_one_lands_after_its_recovery(
    stage: Stage, sent: Sent
) -> None:
    stage.postpone(sent.service, sent.method, sent.path)
    stage.start_and_hold(*CREATE).kill()
    stage.run_until_at_rest()
    stage.land()
    finish(stage)


DEATHS = {
    f"{number}-{commit}-{when}": (number, when) for number, commit in enumerate(COMMITS) for when in ("before", "after")
}
DEATHS_SAMPLE = ("1-creation_started-after", "5-pat_minted-before", "8-secret_stored-before")


@pytest.mark.parametrize(("number", "when"), with_sample(DEATHS, DEATHS_SAMPLE))
def test_creation_is_finished_when_killed_at_a_commit(stage: Stage, number: int, when: str) -> None:
    stage.die(when, number, *CREATE)
    finish(stage)
