"""A process judges claims by what it saw itself: a step of the database's clock ends none, and delays none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.adapters.database.claims import Held, Judge
from rotator.adapters.database.watch import ClaimsWatch
from rotator.domain.clocks import BootMoment
from rotator.domain.job_run import Heartbeat
from tests.support.records import NOW

BEAT = timedelta(seconds=30)
LEASE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
STEPS = [
    timedelta(minutes=-90),
    -BEAT + timedelta(seconds=0.5),
    BEAT,
    timedelta(seconds=61),
    timedelta(minutes=6),
    timedelta(days=400),
]


class Database:
    """One claim of a daemon on another host, or of a command there, and the database's clock; what others see."""

    def __init__(self, *, of_daemon: bool = True) -> None:
        self.passed, self.step = timedelta(0), timedelta(0)
        self.of_daemon = of_daemon
        self.beats: tuple[Heartbeat, ...] = ()
        self.renew()
        self.beat()

    def renew(self) -> None:
        """The holder commits something."""
        self.claim = Held("run-1@a#1.1", NOW + self.passed + self.step + LEASE, BootMoment("a", self.passed))

    def beat(self) -> None:
        """So does its heart."""
        if self.of_daemon:
            now = NOW + self.passed + self.step
            self.beats = (Heartbeat("start@a#1.1", NOW, now, binds_for=2 * BEAT),)

    def find_left(self, watch: ClaimsWatch) -> timedelta:
        """How long the claim binds, as a process on host b sees it that has this watch."""
        boot = BootMoment("b", timedelta(hours=9) + self.passed)
        judge = Judge(watch, NOW + self.passed + self.step, LEASE, boot, boot)
        return judge.find_bindings({"npm-feed": self.claim}, self.beats, is_all=True).lefts["npm-feed"]

    def live(self, *watches: ClaimsWatch, minutes: float, renews: bool = True) -> list[timedelta]:
        """The holder lives so long: what the others see of it, each twice between two of its heartbeats."""
        lefts = []
        for number in range(round(minutes * 4)):
            self.passed += BEAT / 2
            if number % 2:
                self.beat()
                if renews:
                    self.renew()
            lefts += [self.find_left(watch) for watch in watches]
        return lefts


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("of_daemon", [False, True])
def test_step_of_the_databases_clock_ends_no_claim(step: timedelta, *, of_daemon: bool) -> None:
    """At whatever moment between two heartbeats, and whatever others look."""
    for moment in range(60):
        database, watch = Database(of_daemon=of_daemon), ClaimsWatch()
        database.live(watch, minutes=2)
        for second in range(60):
            database.passed += SECOND
            database.step = step if second >= moment else timedelta(0)
            if second % 30 == 7:
                database.beat()
                database.renew()
            if second % 15 == 14 or second == moment:
                assert database.find_left(watch) > timedelta(0)
        assert min(database.live(watch, minutes=5)) > timedelta(0)


@pytest.mark.parametrize("step", [timedelta(0), *STEPS])
def test_silent_daemon_is_over_when_its_own_time_is_and_two_heartbeats_after_a_sight_at_the_latest(
    step: timedelta,
) -> None:
    """Its own time is three quarters of that; without a step it is over two heartbeats after its last one."""
    for seconds in range(30):
        database, watch = Database(), ClaimsWatch()
        database.live(watch, minutes=2)
        last, seen = database.passed, None
        database.passed += timedelta(seconds=seconds)
        database.step = step
        while database.find_left(watch) > timedelta(0):
            seen = database.passed if seen is None else seen
            database.passed += SECOND
        passed = database.passed - last
        assert passed >= 1.5 * BEAT
        assert passed <= 2 * BEAT + timedelta(seconds=seconds)
        assert step or passed == 2 * BEAT


def test_step_while_the_last_heartbeat_was_written_ends_nothing_before_the_daemons_own_time() -> None:
    """The last one is dated by a clock that was put right since, and was not seen before that."""
    for step in STEPS:
        for after in range(0, 30, 5):
            database, watch = Database(), ClaimsWatch()
            database.find_left(watch)
            database.passed += timedelta(seconds=5)
            database.step = step
            database.beat()
            last = database.passed
            database.passed += timedelta(seconds=after)
            database.step = timedelta(0)
            while database.find_left(watch) > timedelta(0):
                database.passed += SECOND
            assert 1.5 * BEAT <= database.passed - last <= 2 * BEAT + timedelta(seconds=after)


@pytest.mark.parametrize("step", [timedelta(0), *STEPS])
def test_process_that_just_began_watches_a_daemon_for_two_heartbeats_itself(step: timedelta) -> None:
    """Whatever the dates say: it has not seen whether the daemon lives."""
    database, watch = Database(), ClaimsWatch()
    database.passed, database.step = timedelta(seconds=10), step
    assert database.find_left(watch) == 2 * BEAT
    database.renew()
    database.passed += 2 * BEAT - SECOND
    assert database.find_left(watch) == SECOND
    database.passed += SECOND
    assert database.find_left(watch) == timedelta(0)


def test_claim_of_a_command_on_another_host_ends_with_its_lease_also_for_a_process_that_just_began() -> None:
    """Else nobody could go on after it where only commands run."""
    database = Database(of_daemon=False)
    database.passed = LEASE - SECOND
    assert database.find_left(ClaimsWatch()) == SECOND
    database.passed = LEASE
    assert database.find_left(ClaimsWatch()) == timedelta(0)


def test_heart_that_beats_is_not_taken_for_late_by_its_dates_alone() -> None:
    """It is late by the dates after a step, and binds as long as it did: who looks then takes nothing over."""
    database, watch = Database(), ClaimsWatch()
    database.live(watch, minutes=2)
    database.step = timedelta(minutes=2)
    database.passed += SECOND
    boot = BootMoment("b", timedelta(hours=9, minutes=2))
    judge = Judge(watch, NOW + database.passed + database.step, LEASE, boot, boot)
    found = judge.find_bindings({"npm-feed": database.claim}, database.beats, is_all=True)
    assert found.held == {"npm-feed"}
    assert found.next_over is not None
    assert found.next_over > BEAT
