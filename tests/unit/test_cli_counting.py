"""How far a run is, as a terminal shows it."""

from __future__ import annotations

from rotator.cli.counting import Count, count_due
from rotator.domain.events.rotations import (
    OverlapStarted,
    PatVerified,
    RotationCompleted,
    RotationFailed,
    RotationPlanned,
    StoreStarted,
)
from rotator.domain.policy import Guardrails
from tests.support.engine import make_world
from tests.support.policies import RULE, make_policy
from tests.support.records import NOW


def test_pats_are_counted_when_a_run_is_done_with_them_however_it_ended() -> None:
    count = Count(3)
    assert count.describe(PatVerified(), "a") == "0 of 3: asking its vault: a"
    assert count.describe(OverlapStarted(overlap_until=NOW), "a") == "1 of 3: overlap started a"
    assert count.describe(RotationCompleted(), "a") == "1 of 3: rotation completed a"
    assert count.describe(RotationFailed(code="x", message="y"), "b") == "2 of 3: rotation failed b"


def test_one_alone_is_not_counted_and_more_than_were_expected_are() -> None:
    count = Count(0)
    assert count.describe(OverlapStarted(overlap_until=NOW), "a") == "overlap started a"
    assert count.describe(OverlapStarted(overlap_until=NOW), "b") == "2 of 2: overlap started b"


def test_terminal_says_what_is_waited_for_and_not_what_is_over() -> None:
    """A vault that does not answer for a minute is no planned rotation."""
    count = Count(1)
    planned = RotationPlanned(predecessor_id="1", due_at=NOW, rule="ci", vault="https://v", secret_name="s")
    assert count.describe(planned, "npm-feed") == "asking whether its vault can be written: npm-feed"
    assert count.describe(StoreStarted(vault="https://v", secret_name="s"), "{}") == "waiting for its vault: {}"


def test_only_what_is_due_and_not_postponed_is_counted() -> None:
    policy = make_policy(RULE, guardrails=Guardrails(max_rotations_per_hour=2))
    world = make_world("a", "b", "c", policy=policy)
    assert count_due(world.make_run()) == 2
    world.run()
    assert count_due(world.make_run()) == 0
