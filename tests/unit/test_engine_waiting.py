"""How long is waited for a service: pauses that double, within a span."""

from __future__ import annotations

from datetime import timedelta

from rotator.engine.waiting import Patience
from tests.support.clock import FakeClock
from tests.support.stop import make_stop


def test_pauses_double_until_the_next_one_would_end_after_the_span() -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(seconds=7))
    assert [patience.wait() for _ in range(4)] == [True, True, True, False]
    assert clock.slept == [1, 2, 4]


def test_pauses_grow_no_longer_than_sixteen_seconds_when_nobody_says_otherwise() -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(minutes=1))
    while patience.wait():
        pass
    assert clock.slept == [1, 2, 4, 8, 16, 16]


def test_pause_is_as_long_as_asked_and_the_next_as_if_nobody_had_asked() -> None:
    clock = FakeClock()
    patience = Patience(clock, make_stop(clock), timedelta(minutes=2), longest=4)
    assert all([patience.wait(30.0), patience.wait(0.5), patience.wait(), patience.wait()])
    assert clock.slept == [30, 2, 4, 4]
