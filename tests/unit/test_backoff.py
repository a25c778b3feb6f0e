"""Waiting longer after each failure, within bounds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.backoff import make_backoff
from rotator.engine.waiting import Patience
from tests.support.clock import FakeClock
from tests.support.stop import make_stop

MINUTE = timedelta(minutes=1)
SPANS = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=30))


@pytest.mark.parametrize(
    ("failures", "minutes"), [(-1, 0), (0, 0), (1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (10**9, 60)]
)
def test_backoff_doubles_up_to_the_longest_when_failures_add_up(failures: int, minutes: int) -> None:
    assert make_backoff(failures, first=5 * MINUTE, longest=60 * MINUTE) == minutes * MINUTE


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**6), SPANS, SPANS)
def test_backoff_never_shrinks_nor_exceeds_when_failures_grow(
    failures: int, first: timedelta, longest: timedelta
) -> None:
    now = make_backoff(failures, first=first, longest=longest)
    following = make_backoff(failures + 1, first=first, longest=longest)
    assert timedelta(0) <= now <= following <= longest
    assert following >= min(first, longest)


@pytest.mark.parametrize(
    ("span", "pauses"),
    [
        (0, []),
        (0.999, []),
        (1, [1]),
        (2.999, [1]),
        (3, [1, 2]),
        (15, [1, 2, 4, 8]),
        (47, [1, 2, 4, 8, 16, 16]),
        (63, [1, 2, 4, 8, 16, 16, 16]),
    ],
)
def test_patience_ends_when_the_next_pause_would_exceed_the_span(span: float, pauses: list[float]) -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(seconds=span))
    while patience.wait():
        assert len(clock.slept) < 100
    assert clock.slept == pauses


@pytest.mark.parametrize(
    ("wishes", "pauses"),
    [([10, None, None], [10, 2, 4]), ([0.5, 0, None], [1, 2, 4]), ([31, None, None], [1, 2]), ([30, 1], [30])],
)
def test_patience_waits_as_long_as_the_service_asks_when_that_fits(
    wishes: list[float | None], pauses: list[float]
) -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(seconds=30))
    for wish in wishes:
        patience.wait(wish)
    assert clock.slept == pauses


def test_patience_counts_the_time_of_the_work_when_that_is_slow() -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(seconds=10))
    assert patience.wait()
    clock.advance(timedelta(seconds=8))
    assert not patience.wait()
    assert clock.slept == [1]
