"""Who wakes the daemon's jobs: real threads, a clock that is set, and a thread that dies."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from rotator.adapters.scheduler import JobScheduler
from rotator.domain.job_run import JobName
from tests.support.scheduling import CountedJob, MovedClock, RunningBootClock

SOON, LATER, NOW = timedelta(milliseconds=50), timedelta(hours=1), timedelta(0)
WORK, REFRESH = JobName.WORK, JobName.REFRESH
Start = Callable[..., JobScheduler]


@pytest.fixture
def clock() -> MovedClock:
    """The wall clock."""
    return MovedClock()


@pytest.fixture
def start(clock: MovedClock) -> Iterator[Start]:
    """Start a scheduler for some jobs; it is stopped in the end."""
    started: list[JobScheduler] = []

    def make(**jobs: CountedJob) -> JobScheduler:
        scheduler = JobScheduler(clock, RunningBootClock(), lambda name: jobs[name.value](name))
        scheduler.start()
        started.append(scheduler)
        return scheduler

    yield make
    for scheduler in started:
        scheduler.stop()


def test_job_is_done_when_its_span_is_over_and_again_after_the_span_that_it_names(start: Start) -> None:
    work = CountedJob(SOON)
    start(work=work).schedule(WORK, SOON)
    assert work.await_count(3)


def test_job_has_a_thread_of_its_own(start: Start) -> None:
    """Always the same one: another job's thread that stands still delays nothing, and its own is missed."""
    work, refresh = CountedJob(SOON), CountedJob(SOON)
    scheduler = start(work=work, refresh=refresh)
    for job in (WORK, REFRESH):
        scheduler.schedule(job, NOW)
    assert work.await_count(5)
    assert refresh.await_count(5)
    assert (len(work.threads), len(refresh.threads), work.threads & refresh.threads) == (1, 1, set())


def test_job_is_done_instead_of_when_it_was_due(start: Start) -> None:
    work = CountedJob()
    scheduler = start(work=work)
    scheduler.schedule(WORK, LATER)
    scheduler.schedule(WORK, NOW)
    assert work.await_count(1)
    assert not work.await_count(2, seconds=0.3)


def test_job_is_hastened_and_never_put_off(start: Start) -> None:
    work = CountedJob()
    scheduler = start(work=work)
    scheduler.hasten(WORK, NOW)  # it was never scheduled, or has just begun
    scheduler.schedule(WORK, SOON)
    scheduler.hasten(WORK, LATER)
    assert work.await_count(1)
    scheduler.hasten(WORK, SOON)
    assert work.await_count(2)
    assert not work.await_count(3, seconds=0.3)


def test_job_is_done_again_when_it_is_wanted_while_it_is_at_work(start: Start) -> None:
    """And never twice at once."""
    work = CountedJob()
    work.gate.clear()
    scheduler = start(work=work)
    scheduler.schedule(WORK, NOW)
    assert work.begun.wait(20)
    for _ in range(3):
        scheduler.schedule(WORK, NOW)
    assert not work.await_count(1, seconds=0.3)
    work.gate.set()
    assert work.await_count(2)
    assert not work.await_count(3, seconds=0.3)


def test_job_that_hangs_or_raises_holds_up_no_other(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    work, refresh = CountedJob(), CountedJob(SOON)
    work.gate.clear()
    refresh.error = ValueError("a bug")
    scheduler = start(work=work, refresh=refresh)
    scheduler.schedule(WORK, NOW)
    assert work.begun.wait(20)
    scheduler.schedule(REFRESH, NOW)
    assert refresh.await_count(1)
    refresh.error = None
    scheduler.schedule(REFRESH, NOW)
    assert refresh.await_count(3)
    work.gate.set()
    assert work.await_count(1)


def test_job_is_done_in_time_when_the_clock_was_set_back_by_an_hour(start: Start, clock: MovedClock) -> None:
    """Without the check it would be done in an hour."""
    work = CountedJob()
    scheduler = start(work=work)
    clock.ahead = timedelta(hours=1)
    scheduler.schedule(WORK, SOON)
    clock.ahead = NOW
    assert not work.await_count(1, seconds=0.3)
    assert scheduler.check()
    assert work.await_count(1)


def test_job_is_done_once_when_the_clock_jumped_ahead_by_400_days(start: Start, clock: MovedClock) -> None:
    """Not once for each interval that the clock passed over, which would take APScheduler's thread away for long."""
    work, refresh = CountedJob(SOON), CountedJob(timedelta(seconds=30))
    scheduler = start(work=work, refresh=refresh)
    clock.ahead = timedelta(days=-400)
    scheduler.schedule(REFRESH, timedelta(seconds=30))
    clock.ahead = NOW
    assert scheduler.check()
    scheduler.schedule(WORK, NOW)
    assert work.await_count(3)
    assert refresh.count <= 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_jobs_are_done_when_the_thread_that_begins_them_has_died(start: Start) -> None:
    work, refresh = CountedJob(), CountedJob()
    work.gate.clear()
    scheduler = start(work=work, refresh=refresh)
    scheduler.schedule(WORK, NOW)
    assert work.begun.wait(20)
    scheduler.schedule(REFRESH, SOON * 10)
    thread = [thread for thread in threading.enumerate() if thread.name == "APScheduler"][-1]
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    while scheduler.check():
        thread.join(0.05)
    assert refresh.await_count(1)
    work.span = NOW
    work.gate.set()
    assert work.await_count(2)
    work.span = LATER


def test_no_job_begins_after_the_stop_which_waits_for_those_at_work(start: Start) -> None:
    work, refresh = CountedJob(NOW), CountedJob()
    work.gate.clear()
    scheduler = start(work=work, refresh=refresh)
    scheduler.schedule(WORK, NOW)
    assert work.begun.wait(20)
    scheduler.schedule(REFRESH, timedelta(seconds=2))
    stopping = threading.Thread(target=scheduler.stop)
    stopping.start()
    stopping.join(0.3)
    assert stopping.is_alive()
    work.gate.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert not refresh.await_count(1, seconds=2.5)
    assert work.count == 1
