"""The host's clock and randomness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator.adapters.clock import SystemClock, SystemEntropy


def test_clock_tells_the_time_in_utc() -> None:
    before, now, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


def test_entropy_makes_ids_that_differ() -> None:
    ids = {SystemEntropy().make_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(entry) == 32 and int(entry, 16) >= 0 for entry in ids)


def test_entropy_picks_every_number_of_the_range() -> None:
    assert {SystemEntropy().pick(3, 5) for _ in range(200)} == {3, 4, 5}
    assert SystemEntropy().pick(7, 7) == 7
