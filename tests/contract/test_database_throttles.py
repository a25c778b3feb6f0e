"""The port Throttles, on every database."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.throttle import LONGEST_HOLD, ThrottleHold
from rotator.ports.database import Database
from tests.support.records import NOW

SECOND = timedelta(seconds=1)


def test_throttles_keep_the_last_hold_of_each_key(database: Database) -> None:
    first, second = ThrottleHold(NOW, NOW + 30 * SECOND), ThrottleHold(NOW + SECOND, NOW + 60 * SECOND)
    with database.begin() as work:
        assert work.throttles.load() == {}
        work.throttles.save("account bot", first)
        work.throttles.save("probes of contoso", first)
        work.throttles.save("account bot", second)
    with database.read() as reading:
        assert reading.throttles.load() == {"account bot": second, "probes of contoso": first}


def test_hold_lasts_until_its_end_and_never_longer_than_an_hour() -> None:
    """Neither what a clock wrote that was ahead, nor a clock that was set back since, holds anybody back for longer."""
    hold = ThrottleHold(NOW, NOW + 30 * SECOND)
    assert [hold.find_left(NOW + after * SECOND) for after in (0, 29, 30, 31)] == [30 * SECOND, SECOND] + 2 * [
        0 * SECOND
    ]
    assert hold.find_left(NOW - timedelta(days=365)) == timedelta(0)
    assert ThrottleHold(NOW, NOW + timedelta(days=365)).find_left(NOW) == LONGEST_HOLD
