"""How long a hold that a service asked for lasts, to the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.throttle import LONGEST_HOLD, ThrottleHold

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, NOUGHT = timedelta(seconds=1), timedelta(0)


@pytest.mark.parametrize(
    ("begun_after", "ends_after", "left"),
    [
        (-SECOND, SECOND, SECOND),
        (-SECOND, -SECOND, NOUGHT),
        (-SECOND, LONGEST_HOLD, LONGEST_HOLD),
        (-SECOND, LONGEST_HOLD + SECOND, timedelta(hours=1)),
        (MOST_SKEW, 2 * MOST_SKEW, 2 * MOST_SKEW),
        (MOST_SKEW + SECOND, 2 * MOST_SKEW, NOUGHT),
    ],
)
def test_hold_lasts_until_its_end_and_no_longer_than_an_hour(
    begun_after: timedelta, ends_after: timedelta, left: timedelta
) -> None:
    """One that a clock wrote that was ahead by more than clocks may be counts for nothing."""
    assert ThrottleHold(NOW + begun_after, NOW + ends_after).find_left(NOW) == left
