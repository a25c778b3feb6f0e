"""One job of the daemon: what goes wrong is told, counted and tried again, and what it works with stays open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.daemon.beats import Beats
from rotator.daemon.job import Job, JobEnd, Workshop, Workshops
from rotator.daemon.jobs import Intervals, make_jobs
from rotator.daemon.worker import LEAST_PAUSE, Worker
from rotator.domain.account import Account
from rotator.domain.events.event import Event
from rotator.domain.events.places import AccountDown, AccountRestored, ScanStarted
from rotator.domain.job_run import JobName, JobOutcome, JobRun
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult
from rotator.engine.pulse import Pulse
from rotator.errors import AuditChainError, DatabaseError, DatabaseUnreachableError, StoppedError, TransientError
from rotator.ports.sign_in import SignInStatus
from tests.support.engine import EngineWorld, make_world
from tests.support.engine_fakes import FakeSignIn
from tests.support.policies import make_policy

MINUTE = timedelta(minutes=1)
WORK, REFRESH = JobName.WORK, JobName.REFRESH


class Bench:
    """A worker with one job, whose act can be replaced."""

    def __init__(self, name: JobName = WORK, *, is_shared: bool = False) -> None:
        self.world: EngineWorld = make_world()
        self.act: Callable[[RunContext], JobResult] = lambda run: JobResult()
        self.done = 0
        self.closed: list[str] = []
        self.heard: list[tuple[JobName, str | int | None, str | None]] = []
        """What the monitor hears of."""
        self.job = Job(name, MINUTE, 5 * MINUTE, is_shared, self._do)
        self.beats = Beats(self.world.clock)
        self.shops = Workshops(self.make_shop("first"))
        self.worker = Worker(self.shops, self.beats, "daemon-1")

    def make_shop(self, name: str) -> Workshop:
        """All that the job works with."""
        make_run = self.world.make_run
        jobs = {self.job.name: self.job}
        return Workshop(jobs, make_run, lambda: self.closed.append(name), MINUTE, monitor=self)

    def note_start(self, job: JobName, run: RunContext) -> None:
        """See Monitor."""
        self.heard.append((job, "start", None))

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """See Monitor."""
        self.heard.append((job, end.exit_code, None if end.error is None else end.error.code))

    def do(self) -> timedelta:
        """Do the job."""
        return self.worker.do(self.job.name)

    def fail(self, error: BaseException) -> None:
        """Let the job raise that."""

        def raise_it(_: RunContext) -> JobResult:
            raise error

        self.act = raise_it

    def list_told(self, name: str) -> list[dict[str, object]]:
        """What was told under that name."""
        return [dict(line) for event, line in self.world.told if event == name]

    def find_last(self) -> JobRun | None:
        """The newest run of the job in the database."""
        with self.world.database.read() as reading:
            return reading.job_runs.find_last(self.job.name, self.world.clock.now())

    def _do(self, run: RunContext) -> JobResult:
        self.done += 1
        return self.act(run)


def test_job_is_done_again_after_its_interval() -> None:
    bench = Bench()
    assert bench.do() == MINUTE
    assert (bench.done, bench.worker.failures) == (1, {})


@pytest.mark.parametrize(
    ("ahead", "expected"), [(20, timedelta(seconds=20)), (900, MINUTE), (0, LEAST_PAUSE), (-50, LEAST_PAUSE)]
)
def test_job_is_done_again_when_there_is_something_to_do(ahead: int, expected: timedelta) -> None:
    """Never later than its interval, and never without a pause."""
    bench = Bench()
    next_at = bench.world.clock.now() + timedelta(seconds=ahead)
    bench.act = lambda run: JobResult(next_at=next_at)
    assert bench.do() == expected


def test_job_that_fails_is_told_and_tried_again_at_growing_intervals_until_it_works() -> None:
    bench = Bench()
    bench.fail(DatabaseUnreachableError("the database is away"))
    assert [bench.do().total_seconds() for _ in range(4)] == [10, 20, 40, 60]
    told = bench.list_told("job_failed")
    assert [line["failures"] for line in told] == [1, 2, 4]
    assert told[0] == {
        "job": "work",
        "code": "database_unreachable",
        "message": "the database is away",
        "failures": 1,
        "retry_seconds": 10,
    }
    assert bench.worker.failures == {WORK: 4}
    bench.act = lambda run: JobResult()
    assert (bench.do(), bench.do()) == (MINUTE, MINUTE)
    assert bench.list_told("job_restored") == [{"job": "work"}]
    assert bench.worker.failures == {}


def test_day_without_a_database_is_a_few_lines_of_the_log() -> None:
    """And another cause is a line at once."""
    bench = Bench()
    bench.fail(DatabaseUnreachableError("the database is away"))
    for _ in range(1440):
        bench.do()
    assert [line["failures"] for line in bench.list_told("job_failed")] == [2**power for power in range(11)]
    bench.fail(DatabaseError("the disk is full", code="database_full"))
    for _ in range(3):
        bench.do()
    assert [line["code"] for line in bench.list_told("job_failed")][11:] == ["database_full"]


def test_monitor_hears_that_a_job_begins_and_how_it_ends() -> None:
    bench = Bench()
    bench.do()
    bench.act = lambda run: JobResult(exit_code=3)
    bench.do()
    bench.fail(DatabaseUnreachableError("the database is away"))
    bench.do()
    bench.fail(StoppedError())
    bench.do()
    start = (WORK, "start", None)
    ends: list[tuple[int | None, str | None]] = [(0, None), (3, None), (1, "database_unreachable"), (None, None)]
    assert bench.heard == [heard for end in ends for heard in (start, (WORK, *end))]


def stop_by_raising() -> JobResult:
    """A job that the stop ends where it waits."""
    raise StoppedError


@pytest.mark.parametrize("end", [stop_by_raising, lambda: JobResult(exit_code=None)])
def test_shared_job_that_is_stopped_is_remembered_as_stopped_and_may_be_done_by_anybody(
    end: Callable[[], JobResult],
) -> None:
    bench = Bench(JobName.RECONCILE, is_shared=True)
    bench.act = lambda run: end()
    bench.do()
    last = bench.find_last()
    assert last is not None
    assert (last.outcome, last.ended_at) == (JobOutcome.STOPPED, bench.world.clock.now())
    bench.act = lambda run: JobResult()
    Worker(bench.shops, bench.beats, "daemon-2").do(JobName.RECONCILE)
    last = bench.find_last()
    assert last is not None
    assert (bench.done, last.holder, last.outcome) == (2, "daemon-2", JobOutcome.SUCCEEDED)


def test_shared_job_that_a_person_asked_for_stays_asked_for_until_it_is_done() -> None:
    """Although the database was locked at that moment, and another daemon had done its period."""
    bench = Bench(JobName.RECONCILE, is_shared=True)
    Worker(bench.shops, bench.beats, "daemon-2").do(JobName.RECONCILE)
    bench.world.advance(seconds=1)
    bench.worker.ask(JobName.RECONCILE)
    bench.world.database.lost_reads = 1
    bench.do()
    assert (bench.done, bench.worker.failures) == (1, {JobName.RECONCILE: 1})
    bench.do()
    assert bench.done == 2
    bench.do()
    assert bench.done == 2


def test_broken_chain_is_not_recomputed_every_few_seconds() -> None:
    bench = Bench()
    bench.job = replace(bench.job, interval=timedelta(days=1))
    bench.shops.swap(bench.make_shop("second"))
    bench.fail(AuditChainError("it was altered", sequence=2, expected="a", found="b"))
    assert bench.do() == timedelta(hours=1)


def test_exception_of_ours_or_not_is_named_when_nobody_expected_it() -> None:
    bench = Bench()
    bench.fail(ZeroDivisionError("no"))
    assert bench.do() == timedelta(seconds=10)
    [told] = bench.list_told("job_failed")
    assert told["code"] == "internal"
    assert "ZeroDivisionError at " in str(told["message"])
    assert "the other jobs go on" in str(told["message"])
    [bug] = bench.list_told("bug_found")
    assert str(bug["stack"]).startswith("Traceback")
    assert "ZeroDivisionError: no" in str(bug["stack"])


def test_job_that_is_stopped_has_not_failed() -> None:
    bench = Bench()
    bench.fail(StoppedError())
    assert bench.do() == MINUTE
    assert (bench.world.told, bench.worker.failures) == ([], {})


def test_shared_job_leaves_its_run() -> None:
    bench = Bench(REFRESH, is_shared=True)
    bench.act = lambda run: JobResult({"refreshed": 2})
    assert bench.do() == MINUTE
    now = bench.world.clock.now()
    done = JobRun(REFRESH, now, "daemon-1", now, now, JobOutcome.SUCCEEDED, {"refreshed": 2})
    assert bench.find_last() == done
    bench.world.advance(minutes=1)
    bench.fail(DatabaseError("no space", code="database_full"))
    bench.do()
    failed = bench.find_last()
    assert failed is not None
    assert failed.failure is not None
    assert (failed.outcome, failed.failure.code) == (JobOutcome.FAILED, "database_full")


def test_shared_job_is_left_alone_when_another_daemon_does_its_period() -> None:
    bench = Bench(REFRESH, is_shared=True)
    now = bench.world.clock.now()
    with bench.world.database.begin() as work:
        work.job_runs.begin(JobRun(REFRESH, now, "daemon-2", now))
    assert (bench.do(), bench.done) == (MINUTE, 0)
    bench.world.advance(minutes=1)
    assert (bench.do(), bench.done) == (MINUTE, 1)


def test_job_is_late_when_it_makes_no_progress_within_its_budget() -> None:
    """Each event that it tells is progress."""
    bench = Bench()
    seen: list[tuple[JobName, ...]] = []

    def crawl(run: RunContext) -> JobResult:
        bench.world.advance(minutes=4)
        run.progress(ScanStarted(), "build-bot/contoso")
        for _ in range(2):
            bench.world.advance(minutes=4)
            seen.append(bench.beats.find_late())
        return JobResult()

    bench.act = crawl
    bench.do()
    assert seen == [(), (WORK,)]
    assert bench.beats.find_late() == ()
    bench.world.advance(minutes=4)
    assert bench.beats.find_late() == (WORK,)


class SilentSignIn(FakeSignIn):
    """Entra takes every request, and answers none within its minute."""

    def __init__(self, world: EngineWorld, look: Callable[[], object]) -> None:
        super().__init__()
        self._world, self._look = world, look

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """See the port."""
        self._world.advance(minutes=1)
        self._look()
        raise TransientError("it does not answer", operation="refresh", service="entra")


def test_job_that_asks_many_accounts_is_not_late_while_none_is_answered() -> None:
    """From the second time on it has nothing to tell: all of that lasts."""
    accounts = tuple(Account(f"bot-{number}", f"bot-{number}@contoso.com", "contoso", ()) for number in range(20))
    world, late = EngineWorld(make_policy(), accounts), set[JobName]()
    beats = Beats(world.clock)
    world.sign_in = SilentSignIn(world, lambda: late.update(beats.find_late()))
    every = Intervals(MINUTE, 15 * MINUTE, 60 * MINUTE, 60 * MINUTE, 60 * MINUTE, MINUTE)
    jobs = make_jobs(every, Pulse("daemon-1", world.clock.now()), patience=2 * MINUTE * len(accounts))
    worker = Worker(Workshops(Workshop(jobs, world.make_run, lambda: None, MINUTE)), beats, "daemon-1")
    for _ in range(2):
        worker.do(REFRESH)
    assert late == set()
    assert [event for event, _ in world.told] == ["account_down"] * len(accounts)


def test_workshop_stays_open_until_the_job_is_over_when_another_takes_its_place() -> None:
    bench = Bench()
    second = replace(bench.make_shop("second"))

    def swap(_: RunContext) -> JobResult:
        bench.shops.swap(second)
        assert bench.closed == []
        return JobResult()

    bench.act = swap
    bench.do()
    assert (bench.closed, bench.shops.current) == (["first"], second)
    bench.act = lambda run: JobResult()
    bench.do()
    bench.shops.swap(bench.make_shop("third"))
    assert bench.closed == ["first", "second"]
    bench.shops.close()
    assert bench.closed == ["first", "second", "third"]


def test_heartbeat_tells_once_of_what_another_process_began_or_ended() -> None:
    """At the start and later; what the daemon told itself is not told again."""
    bench = Bench(JobName.HEARTBEAT)
    run, kinds = bench.world.make_run(), ("condition_continued", "condition_ended")

    def note(event: Event) -> None:
        with bench.world.database.begin() as work:
            record(work, run, "build-bot", event, bench.world.clock.now())

    def count() -> tuple[int, ...]:
        return tuple(len(bench.list_told(kind)) for kind in kinds)

    note(AccountDown(code="transient"))
    bench.do()
    bench.do()
    assert count() == (1, 0)
    [found] = bench.list_told("condition_continued")
    assert (found["subject"], found["kind"], found["code"]) == ("build-bot", "account_down", "transient")
    assert found["severity"] == AccountDown.type.severity
    note(AccountRestored())
    bench.do()
    bench.do()
    assert count() == (1, 1)

    def tell(run: RunContext) -> JobResult:
        note(AccountDown(code="transient"))
        run.progress(AccountDown(code="transient"), "build-bot")
        return JobResult()

    bench.act = tell
    bench.do()
    assert count() == (1, 1)
