"""A run is killed just before and just after every commit of a rotation."""

from __future__ import annotations

import pytest

from tests.support.killing import COMMITS, Stage, read_commits
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


@pytest.mark.sample
def test_rotation_makes_exactly_the_commits_that_are_killed_when_undisturbed(stage: Stage) -> None:
    run = stage.start("once", dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == COMMITS
    stage.check_end()


CASES = {
    f"{number}-{commit}-{when}": (number, when) for number, commit in enumerate(COMMITS) for when in ("before", "after")
}
SAMPLE = ("7-mint_started-after", "8-pat_minted-before", "11-secret_stored-before", "14-revoke_started-after")


@pytest.mark.parametrize(("number", "when"), with_sample(CASES, SAMPLE))
def test_once_loses_nothing_when_killed_at_a_commit(stage: Stage, number: int, when: str) -> None:
    stage.die(when, number)
    stage.run_until_at_rest()
    stage.check_end()
