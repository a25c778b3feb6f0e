"""Random histories, each checked at every step; `make simulate RUNS=25000` runs more."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from datetime import timedelta

import pytest

from rotator.engine.choices import Choice
from rotator.engine.keeping import rename
from tests.simulation.crashing import Life
from tests.simulation.history import History
from tests.simulation.people import People
from tests.simulation.simulation import Story, crash_everywhere, simulate
from tests.simulation.world import ACCOUNT, Spot, World
from tests.support.proving import with_sample
from tests.support.source_tree import ROOT

RUNS = {"short": (200,), "long": (2000,)}
_PARTS = 4


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runs", with_sample(RUNS, ["short"]))
def test_promise_holds_in_random_histories(runs: int) -> None:
    """Run them in processes of their own, which use all cores and keep the tracing out of this one."""
    command = [sys.executable, "-m", "tests.simulation", "--runs", str(runs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+?)(?:,|\n)", done.stdout)}
    assert counts["runs"] == runs
    assert (
        min(counts[what] for what in ("crashes", "faults", "thaws", "stops", "restores", "database faults")) > runs / 10
    )
    assert min(counts["ignored revocations"], counts["ignored stores"]) > runs / 20


def test_history_is_the_same_when_it_is_replayed_from_its_seed() -> None:
    assert [simulate(seed) for seed in range(12)] == [simulate(seed) for seed in range(12)]


def test_only_a_managed_pat_of_a_denied_organization_stays_one_that_nobody_can_work_on_when_it_is_renamed() -> None:
    world = World(random.Random(1), spots=(Spot(), Spot(ACCOUNT, "fabrikam")))
    world.make_calm()
    world.spoil()
    for name in world.names:
        rename(world.make_run(Life(), is_person=True), name, f"{name}-new")
    assert world.spoiled == {"npm-feed", "npm-feed-new"}


def test_a_write_by_hand_stays_one_when_its_managed_pat_is_renamed() -> None:
    world = World(random.Random(1))
    world.make_calm()
    People(world, History(1)).write_secret("ci-build")
    rename(world.make_run(Life(), is_person=True), "ci-build", "moved")
    assert [world.is_written_by_hand(name) for name in ("moved", "npm-feed", "ci-build")] == [True, False, False]


@pytest.mark.parametrize(("secret", "is_broken"), [("moved", False), ("contoso-ci-build", True)])
def test_consumers_are_given_up_only_where_a_person_moved_their_pat_to_another_secret(
    secret: str, is_broken: bool
) -> None:
    world = World(random.Random(1))
    world.make_calm()
    people, record = People(world, History(1)), world.load_record("ci-build")
    assert record is not None
    for place in ("moved", secret):
        people.forget("ci-build")
        people.adopt_as(record.authorization_id, Choice("ci-build", place))
    world.pats.pats[record.authorization_id].revoked = True
    world.oracle.look()
    assert bool(world.oracle.breaks) is is_broken


@pytest.mark.parametrize(
    ("runs", "is_broken"), [((), True), ((False, False), False), ((False, True), True), ((True, False), True)]
)
def test_an_expired_pat_is_given_up_only_when_each_run_of_its_last_day_could_not_work_on_it(
    runs: tuple[bool, ...], is_broken: bool
) -> None:
    world = World(random.Random(1))
    world.make_calm()
    places = [(location.vault, location.name) for location in map(world.location, world.names)]
    world.clock.advance(timedelta(days=2, hours=6))
    for is_able in runs:
        for place in places:
            world.oracle.note_run(place, is_able=is_able)
        world.clock.advance(timedelta(hours=6))
    assert world.oracle.breaks == []
    world.clock.advance(timedelta(days=1))
    assert bool(world.oracle.breaks) is is_broken


SHARES = {"a hundredth": (0, 100)} | {f"share {part + 1} of {_PARTS}": (part, _PARTS) for part in range(_PARTS)}
POINTS = {f"{story.value}, {name}": (story, *share) for story in Story for name, share in SHARES.items()}


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(r"ignore:Exception ignored in. <generator object:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("story", "part", "parts"), with_sample(POINTS, [f"{story.value}, a hundredth" for story in Story])
)
def test_promise_holds_when_the_process_dies_once_anywhere(story: Story, part: int, parts: int) -> None:
    """Die before every bytecode of a story; a hundredth of them in the sample.

    A death between the end of a `with` block and its exit leaves the generator behind to the garbage collection, which
    finds the process dead.
    """
    assert crash_everywhere(part, parts, [story]) > 10_000 / parts
