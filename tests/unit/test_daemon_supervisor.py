"""The daemon as a whole, by its requests: start, look, reload, stop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.daemon.beats import Beats
from rotator.daemon.job import Workshop, Workshops
from rotator.daemon.jobs import Intervals, make_jobs
from rotator.daemon.supervisor import Request, Requests, Supervisor
from rotator.domain.job_run import JobName, JobOutcome, JobRun, make_period
from rotator.engine.pulse import Pulse
from rotator.errors import ConfigError, StoppedError
from tests.support.engine import make_world
from tests.support.engine_scenarios import make_busy
from tests.support.installed_command import PATIENCE
from tests.support.scheduling import NotedHost, NotedScheduler
from tests.support.service_log import TheirLog
from tests.support.stop import make_stop

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY = Intervals(MINUTE, 15 * MINUTE, HOUR, 24 * HOUR, 24 * HOUR, timedelta(seconds=30))


class PacedRequests(Requests):
    """Each request comes when the one before was answered."""

    def get_nowait(self) -> Request:
        """There is none yet."""
        raise queue.Empty


class House:
    """A daemon in memory. `build` is what a reload does."""

    def __init__(self) -> None:
        self.world = make_world()
        self.pulse = Pulse("daemon-1", self.world.clock.now())
        self.closed: list[str] = []
        self.is_serving = True
        self.build: Callable[[], Workshop] = lambda: self.make_shop("second")
        self.host = NotedHost()
        self.beats = Beats(self.world.clock)
        self.shops = Workshops(self.make_shop("first"))
        self.supervisor = Supervisor(
            self.shops,
            lambda: self.build(),
            self._make_scheduler,
            self.beats,
            self.host,
            lambda event, subject: self.world.told.append((event.type.name, event.make_line(subject))),
            "daemon-1",
            "rotator@host",
            lambda: self.is_serving,
        )

    def make_shop(self, name: str, every: Intervals = EVERY) -> Workshop:
        """All that the jobs work with."""
        jobs = make_jobs(every, self.pulse, service_log=TheirLog(self.world))
        return Workshop(jobs, self.world.make_run, lambda: self.closed.append(name), 80 * MINUTE / 60, ("database",))

    def run(self, *requests: Request, asked: Requests | None = None) -> None:
        """Run it through these requests, and the stop."""
        asked = asked or PacedRequests()
        for request in (*requests, Request.STOP):
            asked.put(request)
        self.supervisor.run(asked, "1.0")

    def count_looks(self) -> int:
        """How often a list was asked for."""
        return self.world.count("fetch_pats")

    def list_told(self) -> list[str]:
        """The names of what was told."""
        return [event for event, _ in self.world.told]

    def _make_scheduler(self, act: Callable[[JobName], timedelta]) -> NotedScheduler:
        self.scheduler = NotedScheduler(act)
        return self.scheduler


def test_daemon_starts_every_job_and_stops_in_order() -> None:
    house = House()
    house.run()
    assert house.scheduler.calls == ["start", "stop"]
    assert [job for job, _ in house.scheduler.scheduled] == list(house.shops.current.jobs)
    assert house.host.told == ["ready: Working", "stopping within 110 s"]
    assert (house.list_told(), house.closed) == (["daemon_started", "daemon_stopped"], ["first"])


def test_start_after_three_weeks_does_each_job_once_and_spread() -> None:
    """What was done lately waits until its interval is over."""
    house = House()
    now = house.world.clock.now()
    done = JobRun(JobName.REFRESH, now, "daemon-0", now, now, JobOutcome.SUCCEEDED)
    with house.world.database.begin() as work:
        work.job_runs.end(replace(done, period=now - 21 * 24 * HOUR, began_at=now - 21 * 24 * HOUR))
        work.job_runs.end(replace(done, job=JobName.VERIFY_AUDIT, period=now - HOUR, began_at=now - HOUR))
        work.job_runs.end(replace(done, job=JobName.WORK))
    house.run()
    waits = dict(house.scheduler.scheduled)
    assert max(waits[name] for name in waits if name is not JobName.VERIFY_AUDIT) < timedelta(seconds=10)
    assert len(set(waits.values())) == len(waits)
    assert 23 * HOUR <= waits[JobName.VERIFY_AUDIT] < 23 * HOUR + MINUTE


def test_start_waits_no_longer_than_the_interval_for_what_a_fast_clock_has_dated() -> None:
    house = House()
    now = house.world.clock.now()
    done = JobRun(JobName.VERIFY_AUDIT, now, "daemon-0", now + 3650 * 24 * HOUR, now, JobOutcome.SUCCEEDED)
    with house.world.database.begin() as work:
        work.job_runs.end(done)
    house.run()
    assert 24 * HOUR <= dict(house.scheduler.scheduled)[JobName.VERIFY_AUDIT] < 24 * HOUR + MINUTE


def test_start_does_at_once_what_the_stop_before_has_cut_short() -> None:
    """However lately it was done before that."""
    house = House()
    now = house.world.clock.now()
    lately = JobRun(JobName.VERIFY_AUDIT, now - HOUR, "daemon-0", now - HOUR, now - HOUR, JobOutcome.SUCCEEDED)
    with house.world.database.begin() as work:
        work.job_runs.end(lately)
        work.job_runs.end(replace(lately, period=now, began_at=now, ended_at=now, outcome=JobOutcome.STOPPED))
    house.run()
    assert dict(house.scheduler.scheduled)[JobName.VERIFY_AUDIT] < timedelta(seconds=10)


def test_look_everywhere_that_a_stop_ends_is_done_soon_after_the_next_start() -> None:
    house = House()
    world = house.world
    world.add_managed("ci-build")
    drifted = world.record("ci-build")
    world.pats.rename(drifted.authorization_id, "renamed")
    world.database.interrupts["pat_drifted"] = world.stop.set
    house.scheduler.act(JobName.RECONCILE)
    with world.database.read() as reading:
        last = reading.job_runs.find_last(JobName.RECONCILE, world.clock.now())
    assert last is not None
    assert last.outcome is JobOutcome.STOPPED
    world.advance(seconds=10)
    world.stop = make_stop(world.clock)
    house.run()
    assert dict(house.scheduler.scheduled)[JobName.RECONCILE] < timedelta(seconds=10)


def test_start_tries_every_job_when_the_database_is_away() -> None:
    house = House()
    house.world.database.lost_reads = 1
    house.run()
    assert max(wait for _, wait in house.scheduler.scheduled) < timedelta(seconds=10)


def test_daemon_works_and_looks_everywhere_at_once_when_asked() -> None:
    """Although another daemon has just looked."""
    house = House()
    now = house.world.clock.now()
    with house.world.database.begin() as work:
        period = make_period(now, EVERY.reconcile)
        work.job_runs.end(JobRun(JobName.RECONCILE, period, "daemon-2", now, now, JobOutcome.SUCCEEDED))
    house.world.advance(seconds=1)
    house.scheduler.act(JobName.RECONCILE)
    assert house.count_looks() == 0
    house.run(Request.WORK)
    assert house.scheduler.scheduled[-2:] == [(JobName.WORK, timedelta(0)), (JobName.RECONCILE, timedelta(0))]
    house.scheduler.act(JobName.RECONCILE)
    looks = house.count_looks()
    assert looks > 0
    house.scheduler.act(JobName.RECONCILE)
    assert house.count_looks() == looks


def test_heartbeat_lets_work_begin_when_somebody_else_has_entered_something_sooner() -> None:
    house = House()
    house.scheduler.act(JobName.WORK)
    house.world.advance(seconds=10)
    house.world.add_managed("ci-build", days_left=25)
    house.world.pats.fail("mint", make_busy())
    house.world.rotate("ci-build")
    house.scheduler.act(JobName.HEARTBEAT)
    retry_at = house.world.record("ci-build").retry_at
    assert retry_at is not None
    assert house.scheduler.hastened == [(JobName.WORK, retry_at - house.world.clock.now() + timedelta(seconds=1))]


def test_daemon_proves_that_it_lives_only_while_every_job_does() -> None:
    house = House()
    house.run(Request.WORK)
    assert house.host.told[1:3] == ["alive", "Working"]
    house = House()
    house.scheduler.meanwhile = lambda: house.world.advance(hours=1)
    house.run(Request.WORK)
    assert "alive" not in house.host.told
    assert house.host.told[1].startswith("Stuck: heartbeat, work, reconcile, refresh")


def test_daemon_does_not_prove_that_it_lives_while_its_listener_stands_still() -> None:
    house = House()
    house.is_serving = False
    house.run(Request.WORK)
    assert "alive" not in house.host.told
    assert house.host.told[1] == "Stuck: listener"


def test_daemon_ends_in_order_when_it_meets_a_bug_of_its_own() -> None:
    """No job goes on in a process that nobody looks after."""
    house = House()

    def fail() -> None:
        raise ZeroDivisionError

    house.scheduler.meanwhile = fail
    with pytest.raises(ZeroDivisionError):
        house.run(Request.WORK)
    assert (house.scheduler.calls, house.closed) == (["start", "stop"], ["first"])
    assert house.list_told() == ["daemon_started"]


def test_daemon_tells_when_the_thread_that_begins_the_jobs_had_died() -> None:
    house = House()
    house.scheduler.is_alive = False
    house.run(Request.WORK)
    assert house.list_told() == ["daemon_started", "scheduler_restarted", "daemon_stopped"]


def test_stop_comes_before_the_reloads_that_wait_and_several_of_them_are_one() -> None:
    house = House()
    built = []

    def build() -> Workshop:
        built.append("")
        return house.make_shop("second")

    house.build = build
    asked = Requests()
    house.run(*[Request.RELOAD] * 50, asked=asked)
    assert (house.list_told(), built) == (["daemon_started", "daemon_stopped"], [])
    house, seen = House(), [0]

    def fill() -> None:
        seen[0] += 1
        asked.put(Request.STOP)

    house.build, house.scheduler = build, house.scheduler
    house.scheduler.meanwhile = fill
    for request in [Request.RELOAD] * 50:
        asked.put(request)
    house.supervisor.run(asked, "1.0")
    assert house.list_told() == ["daemon_started", "daemon_reloaded", "daemon_stopped"]
    assert len(built) == 1


def test_reload_swaps_everything_and_begins_what_has_another_interval() -> None:
    house = House()
    house.build = lambda: house.make_shop("second", replace(EVERY, refresh=MINUTE))
    house.run(Request.RELOAD)
    assert house.host.told[:3] == ["ready: Working", "reloading", "ready: Working"]
    again = house.scheduler.scheduled[len(house.shops.current.jobs) :]
    assert [job for job, _ in again] == [JobName.WORK, JobName.REFRESH]
    assert house.world.told[1] == ("daemon_reloaded", {"daemon": "rotator@host", "needs_restart": "database"})
    assert house.closed == ["first", "second"]


def test_reload_begins_a_job_that_is_new_and_goes_on_without_one_that_is_gone() -> None:
    house = House()
    every = replace(EVERY, audit_reconcile=MINUTE)
    shops = [house.make_shop("second", every), house.make_shop("third")]
    house.build = lambda: shops.pop(0)
    house.run(Request.RELOAD, Request.RELOAD)
    assert house.list_told() == ["daemon_started", "daemon_reloaded", "daemon_reloaded", "daemon_stopped"]
    again = house.scheduler.scheduled[len(EVERY.__dataclass_fields__) + 1 :]
    assert [job for job, _ in again] == [JobName.WORK, JobName.AUDIT_RECONCILE, JobName.WORK]


def test_daemon_proves_that_it_lives_while_a_reload_waits_for_a_vault() -> None:
    house, has_proven = House(), threading.Event()
    house.host.watchdog = timedelta(milliseconds=2)
    house.host.tell_alive = has_proven.set  # type: ignore[method-assign]

    def build() -> Workshop:
        assert has_proven.wait(PATIENCE)
        return house.make_shop("second")

    house.build = build
    house.run(Request.RELOAD)
    assert house.list_told() == ["daemon_started", "daemon_reloaded", "daemon_stopped"]


def test_stop_during_a_reload_is_noted_as_any_other() -> None:
    """A call of a vault raises at the stop; the next daemon must not call that a crash."""
    house = House()

    def build() -> Workshop:
        raise StoppedError

    house.build = build
    house.run(Request.RELOAD)
    assert (house.list_told(), house.closed) == (["daemon_started", "daemon_stopped"], ["first"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(ConfigError(["policy.yaml:3: no"]), "config_invalid", "no"), (KeyError("x"), "internal", "goes on as it was")],
)
def test_reload_that_fails_keeps_everything_and_says_why(error: Exception, code: str, said: str) -> None:
    house = House()

    def refuse() -> Workshop:
        raise error

    house.build = refuse
    house.run(Request.RELOAD)
    name, line = house.world.told[1]
    assert (name, line["code"]) == ("reload_refused", code)
    assert said in str(line["message"])
    assert (house.host.told[2], house.closed) == (f"ready: Working; the last reload was refused ({code})", ["first"])


def test_reload_that_was_refused_is_shown_until_one_works() -> None:
    house, tries = House(), [ConfigError(["policy.yaml:3: no"])]

    def build() -> Workshop:
        if tries:
            raise tries.pop()
        return house.make_shop("second")

    house.build = build
    house.run(Request.RELOAD, Request.WORK, Request.RELOAD)
    shown = [told for told in house.host.told if told != "alive" and not told.startswith("stopping")]
    refused = "Working; the last reload was refused (config_invalid)"
    assert shown[1:] == ["reloading", f"ready: {refused}", refused, refused, "reloading", "ready: Working", "Working"]
