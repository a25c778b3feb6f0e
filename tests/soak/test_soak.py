"""Weeks of a daemon; `make soak` lives 1,000 days."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.simulation.world import InvariantError
from tests.soak.years import BOUNDED, EVENTS, STEADY, Report, Years, check_growth

FLAT = dict.fromkeys((*BOUNDED, *STEADY), 2)


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(r"ignore:Exception ignored in. <generator object:pytest.PytestUnraisableExceptionWarning")
def test_daemon_keeps_every_pat_alive_and_comes_to_rest() -> None:
    """Faults, outages, wrong clocks, crashes and reboots included; a crash leaves generators to the collection."""
    report = Years(3).live(30)
    check_growth(report)
    assert report.counts["rotations"] >= 6
    assert min(report.counts[f"{job} runs"] for job in ("work", "reconcile", "refresh", "probe", "heartbeat")) > 50
    assert min(report.counts[what] for what in ("faults", "database faults")) > 5


def test_weeks_are_the_same_when_they_are_lived_again_from_their_seed() -> None:
    assert Years(4).live(6).counts == Years(4).live(6).counts


def test_pat_that_nobody_could_rotate_breaks_the_promise() -> None:
    """What the weeks find is found."""
    years = Years(5)
    years.world.clock.advance(timedelta(days=12))
    with pytest.raises(InvariantError, match="I1"):
        years.live(13)


@pytest.mark.parametrize("what", [*BOUNDED, *STEADY])
def test_growth_is_found(what: str) -> None:
    check_growth(Report(1, sizes=[FLAT, FLAT]))
    with pytest.raises(InvariantError, match=what):
        check_growth(Report(1, sizes=[FLAT, {**FLAT, what: BOUNDED.get(what, 2) + 1}]))


def test_what_is_measured_has_bounds() -> None:
    report = Years(6).live(1)
    assert set(report.sizes[0]) == {*BOUNDED, *STEADY}
    assert report.sizes[0][EVENTS] > 0
