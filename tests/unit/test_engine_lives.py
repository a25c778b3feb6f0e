"""A daemon that ended without a stop is told by the next one; so is a thread that died."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.daemon import DaemonStarted
from rotator.domain.job_run import JobName, JobOutcome
from rotator.engine.delivering import deliver
from rotator.engine.jobs import beat
from rotator.engine.lives import end_life
from rotator.engine.outage import DeliveryMemory
from rotator.engine.pulse import Pulse
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.receivers import ScriptedNotifier


def live(world: EngineWorld, holder: str) -> Pulse:
    """A daemon begins, and lives for a while."""
    pulse = Pulse(holder, world.clock.now())
    for _ in range(3):
        beat(world.make_run(), pulse)
        world.advance(seconds=30)
    return pulse


def count(world: EngineWorld, event: str) -> int:
    """How often the audit log names an event."""
    return sum(found.split()[0] == event for found in world.events(None))


def test_daemon_that_was_killed_is_told_once_by_the_next_one() -> None:
    world, ops = make_world(), ScriptedNotifier()
    deliver(world.make_run(), (ops,), DeliveryMemory())
    live(world, "first")
    assert count(world, "daemon_crashed") == 0
    world.database.gone.add("first")
    live(world, "second")
    assert count(world, "daemon_crashed") == 1
    end_life(world.make_run(), "second", world.clock.now())
    deliver(world.make_run(), (ops,), DeliveryMemory())
    assert ops.heard == [("daemon_crashed", None)]


def test_daemon_that_stopped_is_no_crash() -> None:
    world = make_world()
    pulse = live(world, "first")
    end_life(world.make_run(), pulse.holder, pulse.began_at)
    world.database.gone.add("first")
    live(world, "second")
    assert count(world, "daemon_crashed") == 0


def test_daemon_of_another_host_that_nobody_can_judge_is_no_crash() -> None:
    world = make_world()
    live(world, "first")
    live(world, "second")
    live(world, "third")
    assert count(world, "daemon_crashed") == 0
    world.database.gone.add("first")
    live(world, "fourth")
    assert count(world, "daemon_crashed") == 1


def test_thread_that_died_is_in_the_audit_log_with_the_next_heartbeat_once() -> None:
    world = make_world()
    pulse = live(world, "first")
    pulse.note_death("job")
    for _ in range(2):
        beat(world.make_run(), pulse)
    assert count(world, "thread_died") == 1
    with world.database.read() as reading:
        assert reading.job_runs.find_last(JobName.HEARTBEAT, reading.now()) is not None


def test_start_is_in_the_audit_log_as_soon_as_that_can_be_written() -> None:
    world = make_world()
    pulse = Pulse("first", world.clock.now())
    pulse.note(DaemonStarted(version="1"))
    world.database.audit_left = 0
    beat(world.make_run(), pulse)
    assert (pulse.has_begun, count(world, "daemon_started")) == (True, 0)
    world.database.audit_left = None
    for _ in range(2):
        beat(world.make_run(), pulse)
    assert count(world, "daemon_started") == 1
    world.database.audit_left = 0
    end_life(world.make_run(), pulse.holder, pulse.began_at)
    assert count(world, "daemon_stopped") == 0
    world.database.audit_left = None
    end_life(world.make_run(), pulse.holder, pulse.began_at)
    assert count(world, "daemon_stopped") == 1


def test_daemon_that_was_stopped_gives_back_what_it_still_has() -> None:
    """Nothing else is read or written after a stop."""
    world = make_world()
    pulse = live(world, "first")
    with world.database.begin() as work:
        pulse.leave(work.claims.claim(NAME, "first", now=work.now(), span=world.timing.lease))
    world.stop.set()
    end_life(replace(world.make_run(), pulse=pulse), "first", pulse.began_at)
    with world.database.read() as reading:
        assert reading.claims.load_all() == ()
        ended = reading.job_runs.find_last(JobName.HEARTBEAT, reading.now())
    assert ended is not None
    assert (ended.outcome, ended.ended_at, ended.period) == (JobOutcome.STOPPED, world.clock.now(), pulse.began_at)
