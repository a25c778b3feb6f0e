"""What each job of the daemon does, on the fakes."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, JobRun
from rotator.engine.jobs import (
    JobResult,
    beat,
    find_next_moment,
    reconcile_all,
    refresh_sign_ins,
    verify_audit,
    work_due,
)
from rotator.engine.pulse import Pulse
from rotator.engine.run import run_once
from rotator.engine.run_memory import load_run_times
from rotator.errors import AuditChainError, DatabaseError, SignInRequiredError, StoppedError
from tests.support.engine import NAME, OVERLAP, EngineWorld, make_world
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy


def make_pulse(world: EngineWorld) -> Pulse:
    """The pulse of a daemon that starts now."""
    return Pulse("daemon-1", world.clock.now())


def load_runs(world: EngineWorld) -> list[JobRun]:
    """The newest run of work, and the newest that succeeded."""
    with world.database.read() as reading:
        now = world.clock.now()
        found = [reading.job_runs.find_last(JobName.WORK, now, outcome) for outcome in (None, JobOutcome.SUCCEEDED)]
    return [run for run in found if run is not None]


def list_lasting(world: EngineWorld) -> list[str]:
    """What is wrong and lasts."""
    with world.database.read() as reading:
        return [f"{found.kind.value} {found.subject}" for found in reading.conditions.load()]


def test_work_loads_what_is_due_and_no_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    pulse = make_pulse(world)
    work_due(world.make_run(), pulse)
    world.advance(minutes=5)

    def watch(reader: type, name: str) -> None:
        load = getattr(reader, name)

        def refuse(*given: object) -> object:
            assert "/rotator/" not in sys._getframe(1).f_code.co_filename, f"a tick called {name}"
            return load(*given)

        monkeypatch.setattr(reader, name, refuse)

    with world.database.read() as reading:
        watch(type(reading.inventory), "load_all")
        watch(type(reading.journal), "load_open")
    assert work_due(world.make_run(), pulse).counts == {}


def test_work_leaves_its_run_when_it_did_something_and_only_its_time_when_it_did_not() -> None:
    world = make_world()
    pulse = make_pulse(world)
    assert work_due(world.make_run(), pulse).counts == {"rotated": 1}
    [last, success] = load_runs(world)
    assert (last, last.counts) == (success, {"rotated": 1})
    world.advance(minutes=5)
    before = world.database.dump()
    assert work_due(world.make_run(), pulse).counts == {}
    assert world.database.dump() == before
    assert (pulse.work_began_at, pulse.work_succeeded_at) == (world.clock.now(), world.clock.now())


def test_work_is_no_success_when_an_account_is_down() -> None:
    world = make_world()
    pulse = make_pulse(world)
    world.sign_in.refusals["build-bot"] = SignInRequiredError("it lapsed", account="build-bot")
    result = work_due(world.make_run(), pulse)
    assert (result.exit_code, result.is_down) == (10, True)
    assert (pulse.work_began_at, pulse.work_succeeded_at) == (world.clock.now(), None)
    assert [run.outcome for run in load_runs(world)] == [JobOutcome.FAILED]
    assert list_lasting(world) == ["sign_in_needed build-bot"]
    world.sign_in.refusals.clear()
    work_due(world.make_run(), pulse)
    assert (pulse.work_succeeded_at, list_lasting(world)) == (world.clock.now(), [])


def test_work_is_no_success_when_the_last_look_everywhere_was_none_although_it_rotated() -> None:
    """Else `status` would tell of a last success a minute ago, for as long as an organization is down."""
    world = make_world()
    pulse, now = make_pulse(world), world.clock.now()
    with world.database.begin() as work:
        work.job_runs.end(JobRun(JobName.RECONCILE, now, "daemon-1", now, now, JobOutcome.FAILED))
    result = work_due(world.make_run(), pulse)
    assert (result.counts, result.exit_code, pulse.work_succeeded_at) == ({"rotated": 1}, 1, None)
    assert [(run.outcome, run.failure) for run in load_runs(world)] == [(JobOutcome.FAILED, None)]
    with world.database.read() as reading:
        assert load_run_times(reading).succeeded_at is None


@pytest.mark.parametrize("outcome", [None, JobOutcome.STOPPED])
def test_work_is_no_success_while_another_look_goes_on_or_was_cut_short(outcome: JobOutcome | None) -> None:
    """What the last whole look found down is down: a look that waits for it may take minutes, and says nothing yet."""
    world = make_world()
    world.run()
    pulse, now = make_pulse(world), world.clock.now()
    began = now - timedelta(minutes=5)
    with world.database.begin() as work:
        assert work.job_runs.begin(JobRun(JobName.RECONCILE, began, "daemon-1", began))
        work.job_runs.end(JobRun(JobName.RECONCILE, began, "daemon-1", began, began, JobOutcome.FAILED))
        assert work.job_runs.begin(JobRun(JobName.RECONCILE, now, "daemon-1", now))
        if outcome is not None:
            work.job_runs.end(JobRun(JobName.RECONCILE, now, "daemon-1", now, now, outcome))
    assert work_due(world.make_run(), pulse).exit_code == 1
    assert pulse.work_succeeded_at is None


def test_work_of_a_daemon_is_known_as_such_before_its_next_heartbeat() -> None:
    world = make_world()
    pulse = make_pulse(world)
    beat(world.make_run(), pulse)
    world.advance(seconds=20)
    work_due(world.make_run(), pulse)
    with world.database.read() as reading:
        times = load_run_times(reading)
    assert (times.succeeded_at, times.by_daemon) == (world.clock.now(), True)


@pytest.mark.parametrize("outcome", [JobOutcome.FAILED, JobOutcome.SUCCEEDED])
def test_work_that_has_nothing_to_do_is_a_success_when_the_last_look_everywhere_was_one(outcome: JobOutcome) -> None:
    world = make_world()
    world.run()
    pulse, now = make_pulse(world), world.clock.now()
    with world.database.begin() as work:
        work.job_runs.end(JobRun(JobName.RECONCILE, now, "daemon-1", now, now, outcome))
    is_well = outcome is JobOutcome.SUCCEEDED
    assert work_due(world.make_run(), pulse).exit_code == (0 if is_well else 1)
    assert pulse.work_succeeded_at == (now if is_well else None)


def test_work_asks_nobody_and_writes_nothing_when_nothing_is_due() -> None:
    world = make_world()
    work_due(world.make_run(), make_pulse(world))
    world.advance(minutes=5)
    calls, begun, signed_in = len(world.timeline), world.database.begun, list(world.sign_in.calls)
    work_due(world.make_run(), make_pulse(world))
    assert (len(world.timeline), world.database.begun, world.sign_in.calls) == (calls, begun, signed_in)


def test_what_a_person_asked_for_is_done_at_the_next_turn_when_the_database_was_away() -> None:
    world = make_world()
    pulse = make_pulse(world)
    world.pats.fail("mint", make_busy())
    work_due(world.make_run(), pulse)
    world.advance(seconds=1)
    pulse.ask()
    world.database.lost_reads = 1
    with pytest.raises(DatabaseError):
        work_due(world.make_run(), pulse)
    assert work_due(world.make_run(), pulse).counts == {"rotated": 1}
    assert not pulse.is_asked


def test_look_everywhere_leaves_what_is_due_to_the_queue_and_works_on_what_it_found() -> None:
    world = make_world(NAME, "ci-build")
    drifted = world.record("ci-build")
    world.pats.rename(drifted.authorization_id, "renamed")
    assert reconcile_all(world.make_run()).counts == {"rotated": 1}
    assert ("pat_drifted succeeded" in world.events("ci-build"), world.rotations(NAME)) == (True, [])


def test_look_everywhere_is_done_again_soon_when_an_account_is_down() -> None:
    world = make_world()
    world.sign_in.refusals["release-bot"] = SignInRequiredError("it lapsed", account="release-bot")
    result = reconcile_all(world.make_run())
    assert (result.is_down, result.next_at) == (True, world.clock.now() + timedelta(minutes=5))
    assert list_lasting(world) == ["sign_in_needed release-bot"]


def test_work_that_is_stopped_names_no_next_moment() -> None:
    world = make_world()
    world.stop.set()
    pulse = make_pulse(world)
    assert work_due(world.make_run(), pulse) == JobResult(exit_code=None)
    assert pulse.work_succeeded_at is None
    assert [run.outcome for run in load_runs(world)] == [JobOutcome.STOPPED]


def test_work_has_the_exit_code_of_a_run_by_hand() -> None:
    """Also where it counts as a success, for one PAT's failure is its own."""
    world = make_world()
    world.pats.organizations["contoso"].mint_error = "invalidScope"
    assert work_due(world.make_run(), make_pulse(world)).exit_code == 1
    world.add_managed("other", organization="fabrikam")
    assert work_due(world.make_run(), make_pulse(world)).exit_code == 0


def test_next_moment_is_the_earliest_at_which_something_falls_due() -> None:
    world = make_world(NAME, "ci-build")
    assert find_next_moment(world.make_run()) is None  # both are due now, and nothing else is ahead
    work_due(world.make_run(), make_pulse(world))
    ends_at = world.rotations()[0].overlap_until
    assert ends_at is not None
    assert find_next_moment(world.make_run()) == ends_at + timedelta(seconds=1)
    world.clock.advance(OVERLAP + timedelta(seconds=1))
    assert find_next_moment(world.make_run()) == world.clock.now() + timedelta(seconds=5)
    world.advance(seconds=61)
    assert find_next_moment(world.make_run()) is None
    work_due(world.make_run(), make_pulse(world))
    rotated = world.record()
    next_at = find_next_moment(world.make_run())
    assert next_at is not None
    assert rotated.valid_from < next_at < rotated.valid_to


def test_next_moment_is_not_that_of_what_a_person_has_to_do() -> None:
    world = make_world(policy=make_policy(replace(RULE, action=type(RULE.action)("alert"))))
    assert find_next_moment(world.make_run()) is None


def test_sign_ins_are_refreshed_each_and_what_is_refused_is_told() -> None:
    world = make_world()
    world.sign_in.refusals["build-bot"] = SignInRequiredError("it lapsed", account="build-bot")
    assert refresh_sign_ins(world.make_run()) == JobResult({"refreshed": 1, "failed": 1}, exit_code=10)
    lapsed = {"account": "build-bot", "code": "sign_in_required", "message": "it lapsed", "pats": "npm-feed"}
    assert world.told == [("sign_in_lapsed", lapsed)]
    world.stop.set()
    with pytest.raises(StoppedError):
        refresh_sign_ins(world.make_run())


def test_audit_log_that_was_altered_is_a_condition_until_it_holds_again() -> None:
    world = make_world()
    work_due(world.make_run(), make_pulse(world))
    with world.database.begin() as work:
        event = work.audit.load(2)
    assert event is not None
    world.database.alter(replace(event, hash="0" * 64))
    for _ in range(2):
        with pytest.raises(AuditChainError):
            verify_audit(world.make_run())
    assert world.events("audit_log") == ["audit_broken failed"]
    assert world.told[-1] == ("audit_broken", {"audit_log": "audit_log", "sequence": 2})
    with world.database.read() as reading:
        assert [found.kind for found in reading.conditions.load()] == [ConditionKind.AUDIT_BROKEN]
    run_once(world.make_run())  # a look at the server does not end it
    with world.database.read() as reading:
        assert [found.kind for found in reading.conditions.load()] == [ConditionKind.AUDIT_BROKEN]
    world.database.alter(event)
    for _ in range(2):
        verify_audit(world.make_run())
    assert world.events("audit_log") == ["audit_broken failed", "audit_verified succeeded"]
    with world.database.read() as reading:
        assert reading.conditions.load() == ()


def test_audit_is_verified_and_the_daemon_says_that_it_lives() -> None:
    world = make_world()
    pulse = make_pulse(world)
    began = world.clock.now()
    work_due(world.make_run(), pulse)
    with world.database.read() as reading:
        events = reading.audit.load_newest_number()
    assert verify_audit(world.make_run()).counts == {"events": events}
    world.advance(days=31)
    with world.database.begin() as work:
        work.job_runs.beat(Heartbeat("daemon-0", began, began))
    beat(world.make_run(), pulse)
    with world.database.read() as reading:
        assert reading.job_runs.load_heartbeats() == (
            pulse.describe(world.clock.now(), "root@host", world.policy.digest),
        )


def test_work_that_a_person_asked_for_tries_again_what_would_wait() -> None:
    """Once: the next tick leaves it alone again, and what is not waiting stays as it is."""
    world = make_world()
    world.secrets.denied.add("set")
    pulse = make_pulse(world)
    work_due(world.make_run(), pulse)
    failures = world.record(NAME).failures
    work_due(world.make_run(), pulse)
    assert world.record(NAME).failures == failures
    pulse.ask()
    work_due(world.make_run(), pulse)
    assert world.record(NAME).failures == failures + 1
    work_due(world.make_run(), pulse)
    assert world.record(NAME).failures == failures + 1
    world.secrets.denied.clear()
    pulse.ask()
    work_due(world.make_run(), pulse)
    assert world.record(NAME).failures == 0


def test_rotation_by_hand_that_failed_is_looked_at_again_at_the_moment_that_status_names() -> None:
    """Although it was not due: until then it is called failed. The daemon's heartbeat sees the new moment."""
    world = make_world("other")
    world.add_managed(NAME, days_left=25)
    pulse = make_pulse(world)
    work_due(world.make_run(), pulse)
    world.advance(seconds=1)
    world.pats.fail("mint", make_busy())
    world.rotate(NAME)
    [row] = [row for row in world.show_status() if row.name == NAME]
    retry_at = world.record(NAME).retry_at
    assert retry_at is not None
    assert (row.state.value, row.next_action.value, row.next_at) == ("failed", "check", retry_at)
    assert beat(world.make_run(), pulse).work_at == retry_at + timedelta(seconds=1)
    world.clock.advance(retry_at - world.clock.now())
    work_due(world.make_run(), pulse)
    [row] = [row for row in world.show_status() if row.name == NAME]
    assert (row.state.value, row.next_action.value, row.next_at) == ("ok", "rotate", row.rotate_after)


def test_heartbeat_names_no_moment_that_work_has_seen() -> None:
    """What stays due is left to the interval of work."""
    world = make_world()
    world.secrets.fail("fetch_versions", make_busy())
    pulse = make_pulse(world)
    assert beat(world.make_run(), pulse).work_at is None
    work_due(world.make_run(), pulse)
    retry_at = world.record(NAME).retry_at
    assert retry_at is not None
    world.clock.advance(retry_at - world.clock.now())
    assert beat(world.make_run(), pulse).work_at == retry_at + timedelta(seconds=1)
    pulse.work_began_at = world.clock.now()
    assert beat(world.make_run(), pulse).work_at is None


def test_heartbeat_goes_on_at_once_with_what_a_process_left_that_died() -> None:
    world = make_world()
    pulse = make_pulse(world)
    work_due(world.make_run(), pulse)
    world.advance(days=23)
    world.database.dies_after = "minted"
    with pytest.raises(ProcessDied):
        world.run()
    world.database.revive()
    assert beat(world.make_run(), make_pulse(world)).work_at is None, "its first work will see it"
    assert beat(world.make_run(), pulse).work_at != world.clock.now(), "its claim binds"
    world.advance(minutes=5)
    assert beat(world.make_run(), pulse).work_at == world.clock.now()
    world.advance(minutes=10)
    work_due(world.make_run(), pulse)
    assert beat(world.make_run(), pulse).work_at != world.clock.now()
