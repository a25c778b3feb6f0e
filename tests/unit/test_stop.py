"""The one stop of a process: who ends at once, and who may go on for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.adapters.stop import ProcessStop
from rotator.engine.waiting import Patience
from rotator.errors import StoppedError
from rotator.ports.stop import Stop
from tests.support.clock import FakeClock
from tests.support.stop import make_stop

SPAN = timedelta(seconds=80)


class Thread(threading.Thread):
    """A thread that notes whether it was stopped."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self.is_stopped = False

    def run(self) -> None:
        """Do it."""
        try:
            self._act()
        except StoppedError:
            self.is_stopped = True


def test_nothing_is_raised_when_nobody_stops() -> None:
    port: Stop = ProcessStop()
    port.check()
    port.wait(0.01)
    port.wait(-1)
    with port.finishing(SPAN):
        port.check()


def test_wait_ends_at_once_when_stopped() -> None:
    stop = ProcessStop()
    waiting = Thread(lambda: stop.wait(3600))
    waiting.start()
    assert stop.set() == 0
    waiting.join(10)
    assert (waiting.is_alive(), waiting.is_stopped, stop.is_set) == (False, True, True)


def test_wait_goes_on_when_the_thread_is_finishing() -> None:
    stop, begun = ProcessStop(), threading.Event()

    def finish() -> None:
        with stop.finishing(SPAN):
            begun.set()
            stop.wait(0.2)

    finishing = Thread(finish)
    finishing.start()
    assert begun.wait(10)
    assert stop.set() == 1
    finishing.join(10)
    assert (finishing.is_alive(), finishing.is_stopped) == (False, False)
    assert stop.set() == 0


def test_patience_makes_no_turn_when_stopped() -> None:
    clock = FakeClock()
    stop = make_stop(clock)
    patience = Patience(clock, stop, timedelta(minutes=1))
    stop.set()
    with pytest.raises(StoppedError):
        patience.wait()
    with pytest.raises(StoppedError):
        stop.wait(0)
    assert clock.slept == []


def test_thread_goes_on_until_its_time_is_over_when_finishing() -> None:
    clock = FakeClock()
    stop = make_stop(clock)
    with stop.finishing(SPAN):
        clock.advance(timedelta(hours=1))
        stop.check()
        stop.set()
        stop.wait(60)
        clock.advance(timedelta(seconds=19))
        assert stop.set() == 1
        stop.check()
        clock.advance(timedelta(seconds=1))
        with pytest.raises(StoppedError):
            stop.check()
    assert stop.set() == 0


def test_wait_is_refused_when_it_would_outlast_the_time_that_is_left() -> None:
    clock = FakeClock()
    stop = make_stop(clock)
    with stop.finishing(SPAN):
        stop.set()
        with pytest.raises(StoppedError):
            stop.wait(81)
        stop.wait(80)
    assert clock.slept == [80]


def test_finishing_is_not_begun_when_stopped() -> None:
    stop = ProcessStop()
    stop.set()
    with pytest.raises(StoppedError), stop.finishing(SPAN):
        raise AssertionError("it was entered")


def test_thread_stops_like_any_other_when_the_value_was_given_up() -> None:
    stop = ProcessStop()
    with stop.finishing(SPAN):
        stop.set()
        stop.check()
        stop.end_finishing()
        with pytest.raises(StoppedError):
            stop.check()


def test_thread_stops_like_any_other_until_the_request_leaves_that_makes_the_value() -> None:
    stop = ProcessStop()
    with stop.finishing(SPAN):
        stop.end_finishing()
        assert stop.set() == 0
        with pytest.raises(StoppedError):
            stop.wait(0)
        with pytest.raises(StoppedError):
            stop.begin_finishing()
        with pytest.raises(StoppedError):
            stop.check()


def test_thread_goes_on_when_the_request_left_before_the_stop() -> None:
    stop = ProcessStop()
    with stop.finishing(SPAN):
        stop.end_finishing()
        stop.begin_finishing()
        assert stop.set() == 1
        stop.check()
        stop.end_finishing()
        with pytest.raises(StoppedError):
            stop.begin_finishing()
    assert stop.set() == 0


def test_request_that_leaves_outside_of_finishing_lets_nobody_go_on() -> None:
    stop = ProcessStop()
    stop.begin_finishing()
    assert stop.set() == 0
    with pytest.raises(StoppedError):
        stop.begin_finishing()


def test_other_thread_stops_when_one_is_finishing() -> None:
    stop = ProcessStop()
    with stop.finishing(SPAN):
        stop.set()
        other = Thread(stop.check)
        other.start()
        other.join(10)
        assert other.is_stopped
        stop.check()
