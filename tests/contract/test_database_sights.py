"""What a process saw of a silent daemon outlives it: the next one of the same boot goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.database.watch import ClaimsWatch
from rotator.domain.job_run import Heartbeat
from rotator.ports.database import Database
from tests.contract.test_database_claims import BEAT, SPAN, OtherHost
from tests.support.clock import FakeClock
from tests.support.fake_database import MemoryDatabase
from tests.support.records import NOW, make_managed_pat

AGAIN = timedelta(seconds=20)
"""How often the process here is started again: long before it could see a silence of two heartbeats."""


class Host(OtherHost):
    """A daemon on another host, and processes here that follow one another; `fail_over` loses commits, maybe.

    One more that is silent was at nothing: of such there may be thousands, as each process of a crash loop leaves one.
    """

    def __init__(self, clock: FakeClock, start: Callable[[], Database], fail_over: Callable[[], None]) -> None:
        super().__init__((start(), clock))
        self._start, self.fail_over = start, fail_over
        with self.database.begin() as work:
            work.job_runs.beat(Heartbeat("start@host#2.1", NOW, self.now(), binds_for=2 * BEAT))
        self.clock.advance(2 * BEAT)

    def live_shortly(self) -> bool:
        """One process begins, beats once, may work, and is gone soon; whether it could take over."""
        self.database = self._start()
        with self.database.begin() as work:
            if work.claims.find_next_over(now=self.now(), span=SPAN) is not None:
                work.claims.keep_sights(now=self.now())
        could = self.can_claim()
        self.clock.advance(AGAIN)
        return could


@pytest.fixture(params=["memory", "postgresql"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A database that daemons of several hosts may share, with `npm-feed`."""
    clock = FakeClock(NOW)
    if request.param == "memory":
        memory = MemoryDatabase(host_now=clock.now)
        memory.clocks.boot, memory.clocks.timeline = clock, "a/1"

        def forget() -> Database:
            memory.clocks.watch = ClaimsWatch()
            return memory

        def move_on() -> None:
            memory.clocks.timeline = "a/2"

        with memory.begin() as work:
            work.inventory.add(make_managed_pat())
        yield Host(clock, forget, move_on)
        return
    url: str = request.getfixturevalue("postgres_url")
    upgrade(url)
    with ExitStack() as stack:

        def start() -> Database:
            database = SqlDatabase(url, boot=clock)
            stack.callback(database.close)
            return database

        def fail_over() -> None:
            with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
                found = connection.execute("UPDATE sight SET timeline = 'ff/1' RETURNING process").fetchall()
                assert found == [("host#1.1",)]

        with start().begin() as work:
            work.inventory.add(make_managed_pat())
        yield Host(clock, start, fail_over)


def test_silent_daemon_is_over_for_a_process_that_is_started_again_and_again(host: Host) -> None:
    """After two heartbeats since the first of them saw it."""
    assert [host.live_shortly() for _ in range(4)] == [False, False, False, True]


def test_daemon_that_beats_between_two_processes_binds_again(host: Host) -> None:
    """However short the time between was."""
    assert [host.live_shortly() for _ in range(3)] == [False, False, False]
    host.beat()
    assert [host.live_shortly() for _ in range(3)] == [False, False, False]


def test_what_processes_of_another_boot_saw_says_nothing(host: Host) -> None:
    """Its clock began anew."""
    assert [host.live_shortly() for _ in range(3)] == [False, False, False]
    host.clock.reboot()
    assert [host.live_shortly() for _ in range(4)] == [False, False, False, True]


def test_what_was_seen_before_a_failover_says_nothing(host: Host) -> None:
    """It may have lost a heartbeat that came since."""
    assert [host.live_shortly() for _ in range(3)] == [False, False, False]
    host.fail_over()
    assert [host.live_shortly() for _ in range(4)] == [False, False, False, True]
