"""The host's clock and randomness."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from rotator.adapters.clock import SystemClock, SystemEntropy


def test_clock_tells_the_time_in_utc() -> None:
    before, now, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


def test_sleep_lasts_its_time_when_nobody_stops_it() -> None:
    clock = SystemClock()
    start = clock.now()
    clock.sleep(0.05)
    assert clock.now() - start >= timedelta(seconds=0.04)


def test_sleep_ends_at_once_when_stopped() -> None:
    stop = threading.Event()
    clock = SystemClock(stop)
    sleeper = threading.Thread(target=clock.sleep, args=(3600,))
    sleeper.start()
    stop.set()
    sleeper.join(5)
    assert not sleeper.is_alive()
    clock.sleep(3600)


def test_sleep_returns_when_there_is_nothing_to_wait_for() -> None:
    SystemClock().sleep(-1)


def test_entropy_makes_ids_that_differ() -> None:
    ids = {SystemEntropy().make_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(entry) == 32 and int(entry, 16) >= 0 for entry in ids)


def test_entropy_picks_every_number_of_the_range() -> None:
    assert {SystemEntropy().pick(3, 5) for _ in range(200)} == {3, 4, 5}
    assert SystemEntropy().pick(7, 7) == 7
