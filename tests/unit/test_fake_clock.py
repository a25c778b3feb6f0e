"""The tests' clock."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from rotator.ports.clock import Clock
from tests.support.clock import FakeClock

_START = datetime(2026, 1, 1, tzinfo=UTC)


def test_clock_moves_by_the_seconds_when_slept() -> None:
    clock = FakeClock(_START)
    port: Clock = clock
    clock.sleep(90.5)
    assert port.now() - _START == timedelta(seconds=90.5)
    assert clock.slept == [90.5]


def test_clock_loses_no_second_when_many_threads_sleep() -> None:
    clock = FakeClock(_START)

    def sleep_often() -> None:
        for _ in range(100):
            clock.sleep(1)

    threads = [threading.Thread(target=sleep_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() - _START == timedelta(seconds=800)


def test_clock_refuses_to_start_when_the_time_is_naive() -> None:
    with pytest.raises(ValueError, match="aware"):
        FakeClock(_START.replace(tzinfo=None))
