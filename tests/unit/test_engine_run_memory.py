"""What a run leaves for those who look from outside, and what makes a check red."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest

from rotator.cli.output.status import render_others, render_status_head
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.places import DatabaseLost, DatabaseRestored
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, JobRun, RunTimes, make_period
from rotator.domain.sign_in import SignInMemory
from rotator.domain.words import say_moment
from rotator.engine.alarm import Alarm, Tolerance, find_findings, find_max_age, judge
from rotator.engine.awareness import Awareness
from rotator.engine.context import RunContext
from rotator.engine.overview import view_status
from rotator.engine.report import RunReport
from rotator.engine.run import run_once
from rotator.engine.run_memory import load_run_times, run_and_remember
from rotator.engine.status import NeededSignIn
from rotator.errors import DatabaseError, DatabaseUnreachableError, RotatorError, SignInRequiredError
from tests.support.engine import ACCOUNT, NAME, VAULT, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault
from tests.support.engine_scenarios import make_busy
from tests.support.records import NOW

REMEMBER = partial(run_and_remember, act=run_once)
HOUR = timedelta(hours=1)


def find_last(world: EngineWorld) -> JobRun | None:
    """The newest run of work."""
    with world.database.read() as reading:
        return reading.job_runs.find_last(JobName.WORK, world.clock.now())


def load_times(world: EngineWorld) -> RunTimes:
    """When work began and succeeded."""
    with world.database.read() as reading:
        return load_run_times(reading)


def test_run_leaves_its_beginning_its_end_and_what_came_of_it() -> None:
    world = make_world()
    began = world.clock.now()
    assert load_times(world) == RunTimes()
    seen: list[JobRun | None] = []

    def act(run: RunContext) -> RunReport:
        seen.append(find_last(world))
        world.advance(seconds=20)
        return run_once(run)

    run_and_remember(world.make_run(), act)
    assert seen == [JobRun(JobName.WORK, began, "run-1", began)]
    ended = find_last(world)
    assert ended is not None
    assert (ended.ended_at, ended.outcome) == (world.clock.now(), JobOutcome.SUCCEEDED)
    assert ended.counts == {"rotated": 1}
    assert load_times(world) == RunTimes(began, world.clock.now())


def test_run_that_failed_is_in_the_audit_log_once_until_one_succeeds() -> None:
    world = make_world()

    def fail(run: RunContext) -> RunReport:
        raise RotatorError("it is broken", code="broken")

    def run(act: Callable[[RunContext], RunReport]) -> None:
        world.advance(hours=1)
        with suppress(RotatorError):
            run_and_remember(world.make_run(), act)

    for act, count in ((fail, 1), (fail, 1), (run_once, 1), (fail, 2)):
        run(act)
        assert [found for found in world.events(None) if found.startswith("job_failed")] == [
            "job_failed failed"
        ] * count
    world.database.audit_left = 0
    run(run_once)
    run(fail)
    assert world.told[-1][0] == "run_unrecorded"


def test_run_is_no_success_when_an_account_could_not_be_worked_with() -> None:
    """Although the PATs of others were rotated. One PAT's own failure does not count against the run."""
    world = make_world(NAME)
    world.add_managed("other", account="release-bot")
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)
    REMEMBER(world.make_run())
    ended = find_last(world)
    assert ended is not None
    assert (ended.outcome, ended.counts) == (JobOutcome.FAILED, {"rotated": 1, "failed": 2})
    assert load_times(world).succeeded_at is None
    world.sign_in.refusals.clear()
    world.advance(hours=1)
    world.secrets.denied.add("set")
    REMEMBER(world.make_run())
    assert load_times(world).succeeded_at == world.clock.now()


def test_run_that_an_error_ends_leaves_it_and_raises_it() -> None:
    world = make_world()

    def fail(_: RunContext) -> RunReport:
        raise RotatorError("nothing works", code="broken", fix="Mend it.")

    with pytest.raises(RotatorError, match="nothing works"):
        run_and_remember(world.make_run(), fail)
    ended = find_last(world)
    assert ended is not None
    assert ended.failure is not None
    assert (ended.outcome, ended.failure.code) == (JobOutcome.FAILED, "broken")


def test_run_that_is_stopped_leaves_its_end_all_the_same() -> None:
    world = make_world()

    def stop(run: RunContext) -> RunReport:
        world.stop.set()
        return run_once(run)

    report = run_and_remember(world.make_run(), stop)
    assert report.is_stopped
    ended = find_last(world)
    assert ended is not None
    assert ended.outcome is JobOutcome.STOPPED


def test_run_without_a_database_is_told_once_by_what_ended_it() -> None:
    """That its end cannot be written either is the same cause."""
    world = make_world()

    def act(run: RunContext) -> RunReport:
        world.database.faults[world.database.begun + 1] = CommitFault.DROPPED
        raise DatabaseUnreachableError("the database is away")

    with suppress(DatabaseError):
        run_and_remember(world.make_run(), act)
    assert "run_unrecorded" not in [name for name, _ in world.told]


def test_loss_of_the_database_ends_when_it_is_said_and_not_because_the_database_does_not_hold_it() -> None:
    """No condition in the database tells of it; whoever told of it tells of its end."""
    world, awareness = make_world(), Awareness()
    awareness.hear(DatabaseLost(code="database_unreachable", message="away"), "database")
    awareness.look(world.make_run())
    assert world.told == []
    awareness.hear(DatabaseRestored(), "database")
    assert not awareness.knows(ConditionKind.DATABASE_DOWN, "database")


def test_run_is_reported_when_its_end_cannot_be_written() -> None:
    """The work is done: the database's fault is told, and the report is not lost."""
    world = make_world()

    def act(run: RunContext) -> RunReport:
        report = run_once(run)
        world.database.faults[world.database.begun + 1] = CommitFault.DROPPED
        return report

    report = run_and_remember(world.make_run(), act)
    assert [outcome.kind.value for outcome in report.outcomes] == ["rotated"]
    assert ("run_unrecorded", {"job": "work", "code": "database_unreachable"}) in world.told


def test_times_are_the_later_of_a_run_and_a_daemons_heartbeat() -> None:
    world = make_world()
    REMEMBER(world.make_run())
    first = world.clock.now()
    world.advance(hours=2)
    now = world.clock.now()
    with world.database.begin() as work:
        work.job_runs.beat(Heartbeat("a", first, now, now - HOUR, now - HOUR))
        work.job_runs.beat(Heartbeat("ahead", first, now + HOUR, now + HOUR, now + HOUR))
        work.job_runs.beat(Heartbeat("new", now, now))
    assert load_times(world) == RunTimes(now - HOUR, now - HOUR, by_daemon=True)
    REMEMBER(world.make_run())
    assert load_times(world) == RunTimes(now, now)


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(hours=20)])
def test_times_that_a_fast_clock_has_written_are_left_out_wherever_they_stand(ahead: timedelta) -> None:
    """A daemon tells with right heartbeats of work that it did while the clock was fast."""
    world = make_world()
    now = world.clock.now()
    with world.database.begin() as work:
        work.job_runs.beat(Heartbeat("a", now - HOUR, now, now + ahead, now + ahead))
        work.job_runs.end(JobRun(JobName.WORK, now, "b", now, now + ahead, JobOutcome.SUCCEEDED))
    assert load_times(world) == RunTimes(started_at=now)
    with world.database.begin() as work:
        work.job_runs.beat(Heartbeat("c", now - HOUR, now, now - HOUR, now - HOUR))
    assert load_times(world) == RunTimes(now, now - HOUR, by_daemon=True)


def test_times_count_although_the_clock_of_the_database_is_a_little_behind() -> None:
    world = make_world()
    REMEMBER(world.make_run())
    done = world.clock.now()
    world.advance(seconds=-20)
    with world.database.begin() as work:
        work.job_runs.end(JobRun(JobName.WORK, world.clock.now(), "b", done, done, JobOutcome.SUCCEEDED))
    assert load_times(world) == RunTimes(done, done)


SIGN_IN = ConditionKind.SIGN_IN_NEEDED
RECENT, OLD = NOW - timedelta(minutes=20), NOW - timedelta(hours=4)


@pytest.mark.parametrize(
    ("runs", "kinds", "expected"),
    [
        (RunTimes(RECENT, RECENT), [], Alarm.NONE),
        (RunTimes(), [], Alarm.ATTENTION),
        (RunTimes(RECENT, OLD), [], Alarm.ATTENTION),
        (RunTimes(RECENT, None), [], Alarm.ATTENTION),
        (RunTimes(RECENT, OLD), [SIGN_IN], Alarm.SIGN_IN),
        (RunTimes(RECENT, None), [SIGN_IN], Alarm.SIGN_IN),
        (RunTimes(OLD, OLD), [SIGN_IN], Alarm.ATTENTION),
        (RunTimes(RECENT, RECENT), [ConditionKind.AUDIT_BROKEN], Alarm.ATTENTION),
        (RunTimes(RECENT, RECENT), [ConditionKind.CLOCK_WRONG], Alarm.ATTENTION),
        (RunTimes(RECENT, RECENT), [ConditionKind.PAT_LEFT_BEHIND, SIGN_IN], Alarm.ATTENTION),
        (RunTimes(RECENT, RECENT), [ConditionKind.VAULT_DOWN, ConditionKind.ROTATION_FAILING], Alarm.NONE),
    ],
)
def test_check_is_red_when_something_waits_for_a_person_or_no_run_succeeded_lately(
    runs: RunTimes, kinds: list[ConditionKind], expected: Alarm
) -> None:
    """A sign-in that is needed explains that none succeeded, not that none began."""
    conditions = [Condition(kind, "x", NOW) for kind in kinds]
    assert judge(find_findings([], [], conditions, runs, NOW, Tolerance(3 * HOUR))) is expected


@pytest.mark.parametrize(
    ("runs", "kinds", "expected"),
    [
        (RunTimes(), [], "No run has succeeded yet."),
        (RunTimes(OLD, OLD), [ConditionKind.ROTATION_FAILING], "Last successful run 4 h ago."),
        (RunTimes(NOW, NOW), [SIGN_IN], f"x must sign in again (since {say_moment(NOW)})."),
        (RunTimes(NOW, NOW), [ConditionKind.AUDIT_BROKEN], "The audit log was altered."),
    ],
)
def test_status_begins_with_the_sentence_that_matters(
    runs: RunTimes, kinds: list[ConditionKind], expected: str
) -> None:
    needed = {"x": NeededSignIn(NOW, SignInMemory("x", interactive_at=OLD))} if SIGN_IN in kinds else {}
    head = list(render_status_head(runs, [Condition(kind, "x", NOW) for kind in kinds], NOW, needed))
    assert head[0] == expected
    if len(head) > 1:
        assert head[1].startswith("    fix: ")
        assert head[2:] == ["Last successful run just now."]


def test_status_says_when_a_daemon_last_looked_at_every_account() -> None:
    """Its runs succeed between although no service is asked; a run of `once` has looked itself."""
    said = "Last successful run just now"
    for by_daemon, more in ((True, "; all accounts checked 4 h ago."), (False, ".")):
        runs = RunTimes(NOW, NOW, by_daemon)
        assert list(render_status_head(runs, [], NOW, looked_at=OLD)) == [said + more]
        assert list(render_status_head(runs, [], NOW)) == [f"{said}."]


def test_status_sends_nobody_to_the_membership_when_the_network_is_in_the_way() -> None:
    """`scan` knows what is wrong; what to look at if Azure DevOps answers comes after that."""
    down = Condition(ConditionKind.ORGANIZATION_DOWN, "build-bot/contoso", NOW, code="connection_refused")
    _, line, _ = render_status_head(RunTimes(), [down], NOW)
    assert line.startswith("    fix: `rotator scan` says what is in the way, and what to do about it. If Azure DevOps")


def test_status_begins_with_what_is_down_and_says_what_to_do() -> None:
    """Three of them by name: the others are counted. Of each only what was seen: it may work by now."""
    kind = ConditionKind.ORGANIZATION_DOWN
    down = [Condition(kind, f"build-bot/org-{number}", NOW, code="denied") for number in range(5)]
    said, fix, last = render_status_head(RunTimes(OLD, OLD), down[:1], NOW)
    since = say_moment(NOW)
    assert said == f"build-bot/org-0 could not be checked at {since} (denied); no run has seen it work since."
    assert "`rotator scan`" in fix
    assert last == "Last successful run 4 h ago."
    *named, more, fix, _ = render_status_head(RunTimes(OLD, OLD), down, NOW)
    assert [line.split(" ")[0] for line in named] == [f"build-bot/org-{number}" for number in range(3)]
    assert more == "And 2 more like that."
    assert "`rotator scan`" in fix


def test_status_says_of_a_vault_when_it_failed_and_when_a_run_asks_it_again() -> None:
    """Nobody asks a vault that no PAT needs, so nobody knows whether it works by now."""
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"))
    world.run()
    view = view_status(world.database, world.policy, world.clock.now(), settle=HOUR, lease=HOUR)
    failed_at, later = say_moment(world.clock.now()), world.clock.now() + timedelta(minutes=2)
    said = f"The vault {VAULT} did not work at {failed_at} (transient); no run has seen it work since."
    for now, again in ((later, " A run needs it next in 3 min."), (later + HOUR, " A run needs it next now.")):
        head = render_status_head(view.runs, view.conditions, now, rows=view.rows)
        assert next(head) == said + again
        fix = next(head)
        assert fix.startswith("    fix: If the vault answers with errors")
        assert fix.endswith(" The PATs that wait for it say why, below.")
    alone = render_status_head(view.runs, view.conditions, later)
    assert next(alone) == said
    assert "below" not in next(alone)


def test_status_names_a_clock_as_people_do_and_says_what_to_do() -> None:
    wrong = [Condition(ConditionKind.CLOCK_WRONG, subject, NOW) for subject in ("host", "key_vault")]
    host, vault, fix, _ = render_status_head(RunTimes(NOW, NOW), wrong, NOW)
    assert (host, vault) == ("The clock of this host is wrong.", "The clock of Key Vault is wrong.")
    assert fix.startswith("    fix: Set the clock")


def test_status_shows_what_lasts_and_no_row_tells() -> None:
    """A check that is red has its reason in the plain status too."""
    lasting = [Condition(ConditionKind.PROBE_FAILING, NAME, NOW), Condition(ConditionKind.CLOCK_WRONG, "host", NOW)]
    said, fix = render_others(lasting)
    assert said == f"Azure DevOps refuses the value of {NAME} (since {say_moment(NOW)})"
    assert fix.startswith("    fix: Do what the cause needs")


def test_status_says_what_the_cause_of_a_refused_value_needs() -> None:
    world = make_world()
    lasting = [Condition(ConditionKind.PROBE_FAILING, NAME, NOW, code="owner_must_sign_in")]
    said, fix = render_others(lasting, world.show_status())
    assert said.startswith(
        f"Azure DevOps refuses {NAME} until the user of {ACCOUNT} signs in to it in a browser (since "
    )
    assert "Do not rotate" in fix


@pytest.mark.parametrize(
    ("runs", "interval", "expected"),
    [
        (RunTimes(NOW, NOW), timedelta(minutes=1), 3 * HOUR),
        (RunTimes(NOW, NOW, by_daemon=True), timedelta(minutes=1), timedelta(minutes=15)),
        (RunTimes(NOW, NOW, by_daemon=True), HOUR, 3 * HOUR),
    ],
)
def test_oldest_success_depends_on_who_worked_last(runs: RunTimes, interval: timedelta, expected: timedelta) -> None:
    assert find_max_age(runs, interval) == expected


@pytest.mark.parametrize(
    ("hour", "minute", "expected"), [(12, 0, (12, 0)), (12, 14, (12, 0)), (12, 15, (12, 15)), (23, 59, (23, 45))]
)
def test_period_begins_on_a_multiple_of_its_length(hour: int, minute: int, expected: tuple[int, int]) -> None:
    moment = datetime(2026, 3, 1, hour, minute, 30, tzinfo=NOW.tzinfo)
    period = make_period(moment, timedelta(minutes=15))
    assert (period.hour, period.minute, period.second) == (*expected, 0)
