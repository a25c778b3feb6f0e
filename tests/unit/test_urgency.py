"""How long a PAT may be made to wait, by the time that it has left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.urgency import SHORTEST_WAIT, bound_wait

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SPANS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400))


@pytest.mark.parametrize(
    ("wanted", "left", "wait"),
    [
        (6 * HOUR, 5 * DAY, 6 * HOUR),
        (6 * HOUR, DAY, 6 * HOUR),
        (6 * HOUR, DAY - 4 * MINUTE, 6 * HOUR - MINUTE),
        (6 * HOUR, 8 * HOUR, 2 * HOUR),
        (5 * MINUTE, 20 * MINUTE, 5 * MINUTE),
        (5 * MINUTE, 8 * MINUTE, 2 * MINUTE),
        (5 * MINUTE, 4 * MINUTE, MINUTE),
        (5 * MINUTE, timedelta(0), MINUTE),
        (6 * HOUR, -HOUR, 15 * MINUTE),
        (6 * HOUR, -30 * DAY, 6 * HOUR),
        (timedelta(0), DAY, timedelta(0)),
        (timedelta(seconds=1), timedelta(0), timedelta(seconds=1)),
    ],
)
def test_wait_is_as_wanted_but_at_most_a_quarter_of_the_time_left(
    wanted: timedelta, left: timedelta, wait: timedelta
) -> None:
    assert bound_wait(wanted, left) == wait


@settings(deadline=None, derandomize=True)
@given(SPANS, st.timedeltas(min_value=4 * MINUTE, max_value=timedelta(days=400)))
def test_wait_ends_before_the_expiry_when_minutes_are_left(wanted: timedelta, left: timedelta) -> None:
    assert bound_wait(wanted, left) <= left / 4


@settings(deadline=None, derandomize=True)
@given(SPANS, st.timedeltas(min_value=-400 * DAY, max_value=400 * DAY), st.floats(0, 1))
def test_rest_of_a_wait_is_within_its_bound_at_every_later_moment(
    wanted: timedelta, left: timedelta, share: float
) -> None:
    """So a time to try again that was stored is never taken for one that nobody can have written."""
    wait = bound_wait(wanted, left)
    passed = wait * share
    assert wait - passed <= bound_wait(wanted, left - passed) or wait - passed <= SHORTEST_WAIT
