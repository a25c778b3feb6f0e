"""Jobs that no longer succeed, on the fakes: what makes one a condition, what does not, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial

import pytest

from rotator.daemon.beats import Beats
from rotator.daemon.job import Job, Workshop, Workshops
from rotator.daemon.worker import LEFT_OUT, Worker
from rotator.domain.condition import ConditionKind
from rotator.domain.events.places import AccountDown
from rotator.domain.job_run import Heartbeat, JobName, JobRun
from rotator.engine.alarm import Cause, Finding, Tolerance, find_findings
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult, beat
from rotator.engine.pulse import Pulse
from rotator.engine.report import RunReport
from rotator.engine.run import run_once
from rotator.engine.run_memory import load_run_times, run_and_remember
from rotator.engine.stalled import LEAST_PATIENCE, watching
from rotator.engine.upkeep import keep_up
from rotator.errors import AuditChainError, SignInRequiredError
from tests.support.engine import ACCOUNT, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SHARED = {
    JobName.REFRESH: 15 * MINUTE,
    JobName.RECONCILE: HOUR,
    JobName.PROBE: 15 * MINUTE,
    JobName.VERIFY_AUDIT: DAY,
    JobName.AUDIT_RECONCILE: DAY,
}
OWN = {JobName.WORK: MINUTE, JobName.DELIVER: MINUTE / 2, JobName.HOOKS: MINUTE / 6, JobName.HEARTBEAT: MINUTE / 2}
EVERY = {**SHARED, **OWN}


class Host:
    """A host with a daemon, whose jobs do what a test says. It may be restarted, and be off for a while."""

    def __init__(self, world: EngineWorld, name: str = "daemon-1") -> None:
        self.world, self.name = world, name
        self.acts: dict[JobName, Callable[[RunContext], JobResult]] = {}
        self.restart()

    def restart(self, without: JobName | None = None) -> None:
        """Begin a daemon anew: its memory is gone. It may be one that has not all of the jobs."""
        self.beats = Beats(self.world.clock)
        self.pulse = Pulse(self.name, self.world.clock.now())
        budget = 15 * MINUTE
        jobs = {job: Job(job, every, budget, job in SHARED, partial(self._act, job)) for job, every in EVERY.items()}
        if without is not None:
            del jobs[without]
        self.worker = Worker(
            Workshops(Workshop(jobs, self.world.make_run, lambda: None, MINUTE)), self.beats, self.name
        )

    def fail(self, job: JobName, error: Exception | None = None) -> None:
        """Let a job raise from now on; without an error it works again."""

        def act(run: RunContext) -> JobResult:
            if error is not None:
                raise error
            return JobResult()

        self.acts[job] = act

    def do(self, job: JobName, span: timedelta = timedelta(0)) -> None:
        """Do a job, again and again for a span, as soon as it is due each time."""
        until = self.world.clock.now() + span
        while True:
            pause = self.worker.do(job)
            if self.world.clock.now() + pause > until:
                return
            self.world.clock.advance(pause)

    def _act(self, job: JobName, run: RunContext) -> JobResult:
        if job is JobName.HEARTBEAT and job not in self.acts:
            return beat(run, self.pulse)
        act = self.acts.get(job)
        return JobResult() if act is None else act(run)


def list_stalled(world: EngineWorld) -> dict[str, str | None]:
    """The jobs that no longer succeed, each with why."""
    with world.database.read() as reading:
        found = reading.conditions.load_of([ConditionKind.JOB_STALLED])
    return {condition.subject: condition.code for condition in found}


def check(world: EngineWorld) -> tuple[Finding, ...]:
    """What `status --check` finds beside PATs."""
    with world.database.read() as reading:
        conditions, runs = reading.conditions.load(), load_run_times(reading)
    return find_findings((), (), conditions, runs, world.clock.now(), Tolerance(3 * HOUR))


@pytest.mark.parametrize("job", list(JobName))
def test_job_that_fails_for_ever_is_a_condition_and_makes_the_check_red_until_it_succeeds(job: JobName) -> None:
    """Not at its first failures, but three of its intervals after its last success."""
    host = Host(make_world())
    host.do(job)
    host.fail(job, ZeroDivisionError("no"))
    patience = max(3 * EVERY[job], LEAST_PATIENCE)
    host.do(job, patience - EVERY[job])
    assert list_stalled(host.world) == {}
    host.do(job, 2 * EVERY[job] + 5 * MINUTE)
    assert list_stalled(host.world) == {job.value: "internal"}
    assert Finding(Cause.JOB_STALLED, (job.value,)) in check(host.world)
    told = [event for event, _ in host.world.told]
    assert told.count("job_stalled") == 1
    host.fail(job)
    host.do(job)
    assert list_stalled(host.world) == {}
    assert [event for event, _ in host.world.told].count("job_resumed") == 1


@pytest.mark.parametrize("is_daemon", [True, False])
def test_job_that_failed_is_forgotten_when_the_settings_have_it_no_more(is_daemon: bool) -> None:
    """After a reload, a restart, or where a host has no daemon any more."""
    job = JobName.AUDIT_RECONCILE
    host = Host(make_world())
    host.do(job)
    host.fail(job, ZeroDivisionError("no"))
    host.do(job, 5 * DAY)
    assert list_stalled(host.world) == {job.value: "internal"}
    if is_daemon:
        host.restart(without=job)
        assert host.worker.do(job) == LEFT_OUT
        host.do(JobName.HEARTBEAT)
    else:
        keep_up(host.world.make_run(), DAY, DAY)
    assert list_stalled(host.world) == {}
    assert [event for event, _ in host.world.told].count("job_dropped") == 1


@pytest.mark.parametrize("job", [*SHARED, JobName.DELIVER, JobName.HOOKS])
def test_failures_of_a_job_are_remembered_when_the_daemon_begins_anew_again_and_again(job: JobName) -> None:
    host = Host(make_world())
    host.do(job)
    host.fail(job, ZeroDivisionError("no"))
    for _ in range(8):
        if job is not JobName.RECONCILE:
            host.restart()
        host.world.clock.advance(max(EVERY[job], 5 * MINUTE))
        host.worker.do(job)
    assert list_stalled(host.world) == {job.value: "internal"}
    host.restart()
    host.fail(job)
    host.world.clock.advance(EVERY[job])
    host.do(job)
    assert list_stalled(host.world) == {}


@pytest.mark.parametrize("job", list(JobName))
def test_job_has_not_failed_when_the_host_was_off_for_weeks(job: JobName) -> None:
    """Nor when its first tries after that fail."""
    host = Host(make_world())
    host.do(job)
    host.world.clock.advance(21 * DAY)
    host.restart()
    assert list_stalled(host.world) == {}
    host.fail(job, ZeroDivisionError("no"))
    host.worker.do(job)
    host.worker.do(job)
    assert list_stalled(host.world) == {}


def test_job_that_is_not_due_has_not_failed() -> None:
    """The log is verified once a day; the daemon runs for hours before that."""
    host = Host(make_world())
    host.do(JobName.HEARTBEAT, 2 * HOUR)
    assert list_stalled(host.world) == {}


def test_job_that_gives_no_sign_of_life_is_told_at_the_second_heartbeat_and_ends_when_it_succeeds() -> None:
    """At one heartbeat each job may be late: the host slept, and they are about to begin."""
    host = Host(make_world())
    host.do(JobName.HOOKS)
    host.do(JobName.DELIVER)
    host.world.clock.advance(HOUR)
    host.do(JobName.HEARTBEAT)
    assert list_stalled(host.world) == {}
    host.do(JobName.HOOKS)
    host.world.clock.advance(MINUTE / 2)
    host.do(JobName.HEARTBEAT)
    assert list_stalled(host.world) == {"deliver": "no_progress"}
    host.do(JobName.DELIVER)
    assert list_stalled(host.world) == {}


@pytest.mark.parametrize("job", [JobName.PROBE, JobName.REFRESH])
def test_job_that_cannot_do_all_is_told_when_nothing_that_is_down_explains_it(job: JobName) -> None:
    """Values that cannot be tried, or new tokens that Entra does not give while those at hand still do."""
    host, every = Host(make_world()), SHARED[job]
    host.do(job)
    host.acts[job] = lambda run: JobResult({"unknown": 1}, None, 1, is_down=True)
    run = host.world.make_run()
    with host.world.database.begin() as work:
        record(work, run, ACCOUNT, AccountDown(code="transient"), host.world.clock.now())
    host.do(job, 8 * every)
    assert list_stalled(host.world) == {}
    with host.world.database.begin() as work:
        work.conditions.end([ConditionKind.ACCOUNT_DOWN], ACCOUNT)
    host.world.clock.advance(every)
    host.do(job)
    assert list_stalled(host.world) == {job.value: "not_done"}


def test_look_that_found_a_place_down_is_no_failure_of_its_job() -> None:
    """That place is told by itself. A look that raises is one."""
    host = Host(make_world())
    host.acts[JobName.RECONCILE] = lambda run: JobResult({}, None, 1, is_down=True)
    host.do(JobName.RECONCILE, 6 * HOUR)
    assert list_stalled(host.world) == {}
    host.fail(JobName.RECONCILE, ZeroDivisionError("no"))
    host.do(JobName.RECONCILE, 4 * HOUR)
    assert list_stalled(host.world) == {"reconcile": "internal"}
    host.acts[JobName.RECONCILE] = lambda run: JobResult({}, None, 1, is_down=True)
    host.world.clock.advance(HOUR)
    host.do(JobName.RECONCILE)
    assert list_stalled(host.world) == {}


def test_altered_log_is_told_once() -> None:
    host = Host(make_world())
    host.fail(JobName.VERIFY_AUDIT, AuditChainError("it was altered", sequence=2, expected="a", found="b"))
    host.do(JobName.VERIFY_AUDIT, 6 * DAY)
    assert list_stalled(host.world) == {}


def test_job_that_another_daemon_has_at_hand_has_not_succeeded() -> None:
    """Nor has one that fails in another daemon, which lives, although it works here."""
    world = make_world()
    first, second = Host(world), Host(world, "daemon-2")
    for job in (JobName.REFRESH, JobName.DELIVER):
        first.do(JobName.HEARTBEAT)
        first.do(job)
        first.fail(job, ZeroDivisionError("no"))
        first.do(job, 2 * HOUR)
    assert list_stalled(world) == {"refresh": "internal", "deliver": "internal"}
    first.do(JobName.HEARTBEAT)
    second.do(JobName.HEARTBEAT)
    world.clock.advance(15 * MINUTE)
    now = world.clock.now()
    with world.database.begin() as work:
        work.job_runs.begin(JobRun(JobName.REFRESH, now, "daemon-1", now))
        work.job_runs.beat(Heartbeat("daemon-1", now, now))
    second.do(JobName.REFRESH)
    second.do(JobName.DELIVER)
    assert list_stalled(world) == {"refresh": "internal", "deliver": "internal"}
    world.clock.advance(15 * MINUTE)
    second.do(JobName.REFRESH)
    second.do(JobName.HEARTBEAT)
    second.do(JobName.DELIVER)
    assert list_stalled(world) == {}


def test_once_ends_what_it_does_itself_and_what_only_a_daemon_did_unless_one_lives() -> None:
    host = Host(make_world())
    for job in (JobName.WORK, JobName.REFRESH, JobName.DELIVER):
        host.do(job)
        host.fail(job, ZeroDivisionError("no"))
        host.do(job, HOUR)
    host.do(JobName.HEARTBEAT)
    keep_up(host.world.make_run(), DAY, DAY)
    assert sorted(list_stalled(host.world)) == ["deliver", "refresh", "work"]
    host.world.clock.advance(HOUR)
    keep_up(host.world.make_run(), DAY, DAY)
    assert sorted(list_stalled(host.world)) == ["deliver"]
    with watching(host.world.make_run(), JobName.DELIVER, HOUR):
        pass
    assert list_stalled(host.world) == {}


def test_once_tells_of_a_job_that_fails_at_every_run() -> None:
    """On a host without a daemon; here the values cannot be read, and nobody else asks the vault."""
    world = make_world("fresh")
    found = []

    def once() -> None:
        run_and_remember(world.make_run(), run_once)
        keep_up(world.make_run(), DAY, DAY)
        world.advance(hours=1)
        found.append(list_stalled(world))

    once()
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"), times=3)
    for _ in range(4):
        once()
    assert found == [{}, {}, {}, {"probe": "not_done"}, {}]


def test_work_that_an_error_ends_each_time_is_not_hidden_by_a_sign_in_that_is_needed() -> None:
    """Not by its first failure; and not any more once work was done again, although nothing succeeds."""
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)

    def fail(_: RunContext) -> RunReport:
        raise ZeroDivisionError

    def once(*, fails: bool) -> None:
        with pytest.raises(ZeroDivisionError) if fails else nullcontext():
            run_and_remember(world.make_run(), fail if fails else run_once)

    once(fails=False)
    for _ in range(3):
        world.advance(hours=1)
        once(fails=True)
        assert [found.cause for found in check(world)] == [Cause.SIGN_IN]
    world.advance(hours=1.5)
    once(fails=True)
    assert [found.cause for found in check(world)] == [Cause.SIGN_IN, Cause.STALE]
    once(fails=False)
    assert [found.cause for found in check(world)] == [Cause.SIGN_IN]
