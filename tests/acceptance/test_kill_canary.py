"""`rotator doctor --canary` is killed at every HTTP request and at every commit; the next runs revoke what it made."""

from __future__ import annotations

import json

import pytest

from rotator.sandbox.seeds import ORGANIZATION
from rotator.sandbox.world import Pat
from tests.support.killing import Stage, read_commits
from tests.support.proving import with_sample
from tests.support.sent import IDENTITY, LIST, MINT, REVOKE, SHOW, Sent, check_requests, list_points

pytestmark = pytest.mark.prove

SEND = ("doctor", "--canary", "--account", "build-bot", "--organization", ORGANIZATION, "--yes")
REQUESTS = (IDENTITY, LIST, MINT, SHOW, IDENTITY, REVOKE, LIST, LIST)
"""Every request to Azure DevOps in order; none goes to the vault."""
COMMITS = [
    "INSERT checkpoint",
    "canary_planned",
    "UPDATE managed_pat",
    "rotation_planned",
    "mint_started",
    "pat_minted",
    "pat_verified",
    "revoke_started",
    "UPDATE managed_pat",
    "revocation_requested",
    "UPDATE managed_pat",
    "pat_revoked",
    "UPDATE managed_pat",
    "canary_ended",
    "UPDATE managed_pat",
    "INSERT checkpoint",
]
"""Every commit. Those of `managed_pat` alone take the claim, renew it or give it back."""


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


def find_canaries(stage: Stage) -> list[Pat]:
    """Every canary, dead or alive."""
    with stage.world.lock:
        return [pat for pat in stage.world.pats.values() if pat.display_name.startswith("canary-")]


def finish(stage: Stage) -> None:
    """Run until nothing is open, and once more: no canary lives, none was made anew, no record is left."""
    stage.check_secrecy()
    made = len(find_canaries(stage))
    for _ in range(3):
        stage.run_until_at_rest()
    assert [pat.authorization_id for pat in find_canaries(stage) if not pat.revoked] == []
    assert len(find_canaries(stage)) == made
    listing = stage.start("inventory", "list", "--json")
    assert listing.wait() == 0, listing.read()
    names = [pat["name"] for pat in json.loads(listing.output.read_text(encoding="utf-8"))["pats"]]
    assert not [name for name in names if name.startswith("canary-")]
    stage.check_end()


@pytest.mark.sample
def test_canary_makes_exactly_the_requests_and_commits_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start(*SEND, dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == COMMITS
    check_requests(stage, REQUESTS)
    [canary] = find_canaries(stage)
    assert canary.revoked
    finish(stage)


CASES = list_points(REQUESTS)
SAMPLE = (f"{MINT}-0-after", f"{REVOKE}-0-before")


@pytest.mark.parametrize(("sent", "skip", "effect"), with_sample(CASES, SAMPLE))
def test_canary_is_revoked_when_killed_at_a_request(stage: Stage, sent: Sent, skip: int, effect: bool) -> None:
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    stage.start_and_hold(*SEND).kill()
    stage.faults.close()
    finish(stage)


DEATHS = {
    f"{number}-{commit}-{when}": (number, when) for number, commit in enumerate(COMMITS) for when in ("before", "after")
}
DEATHS_SAMPLE = ("5-pat_minted-before", "9-revocation_requested-after")


@pytest.mark.parametrize(("number", "when"), with_sample(DEATHS, DEATHS_SAMPLE))
def test_canary_is_revoked_when_killed_at_a_commit(stage: Stage, number: int, when: str) -> None:
    stage.die(when, number, *SEND)
    finish(stage)
