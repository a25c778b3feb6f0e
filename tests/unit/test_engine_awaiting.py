"""A hook that must succeed: the overlap begins afterwards, whatever fails or dies, and people may overrule it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.monitoring_errors import HookError
from rotator.domain.next_step import NextAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Match
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.awaiting import end_wait
from rotator.engine.claiming import claimed
from rotator.engine.hooking import MOST_TRIES, HookMemory, call_hooks
from rotator.engine.keeping import check_overlapping, rename, revoke_previous
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeReason
from rotator.engine.status import PatState
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError, RotationError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import NAME, ORGANIZATION, OVERLAP, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.hooks import ScriptedHook
from tests.support.policies import RULE, make_policy
from tests.support.reaper import Reaper

BAD = HookError("the hook restart exited with 1", fix="Mend it.")


class Stage:
    """A ManagedPat that is due, and a hook that must succeed."""

    def __init__(self, *hooks: ScriptedHook) -> None:
        self.hook = ScriptedHook(required=True)
        self.hooks = hooks or (self.hook,)
        self.world: EngineWorld = make_world()
        self.set_hooks()
        self.memory = HookMemory()
        self.old = self.world.record().authorization_id

    def set_hooks(self, *hooks: ScriptedHook) -> None:
        """The settings have these hooks."""
        self.hooks = hooks or self.hooks
        self.world.policy = replace(self.world.policy, hooks=tuple(hook.terms for hook in self.hooks))

    def call(self) -> dict[str, int]:
        """One job of the daemon."""
        return dict(call_hooks(self.world.make_run(), self.hooks, self.memory).counts)

    def go(self, span: timedelta, step: timedelta = timedelta(hours=1)) -> None:
        """Time passes, and the daemon does its jobs."""
        for _ in range(span // step):
            self.world.advance(seconds=step.total_seconds())
            self.world.run()
            self.call()

    @property
    def rotation(self) -> Rotation:
        """The newest rotation."""
        return self.world.rotations()[-1]

    @property
    def awaited(self) -> list[str]:
        """The hooks that the newest rotation waits for."""
        return list(self.rotation.awaited_hooks)

    @property
    def is_old_alive(self) -> bool:
        """Whether the old PAT is valid."""
        return not self.world.pats.pats[self.old].revoked

    def list_events(self, name: str) -> int:
        """How many events of that name are in the audit log."""
        with self.world.database.read() as reading:
            return len(reading.audit.load_newest(1000, AuditFilter(event=name)))


def test_overlap_begins_when_the_hook_has_succeeded() -> None:
    """Until then the old PAT stays, long after an overlap would be over; afterwards for the whole overlap."""
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    report = stage.world.run()
    assert [outcome.reason for outcome in report.outcomes] == [OutcomeReason.HOOK_AWAITED]
    assert [outcome.overlap_until for outcome in report.outcomes] == [None]
    assert stage.awaited == ["restart"]
    stage.call()
    stage.go(2 * OVERLAP)
    assert stage.is_old_alive
    assert stage.hook.tries > MOST_TRIES
    stage.hook.fails = lambda _: None
    stage.go(2 * timedelta(hours=1))
    assert stage.awaited == []
    succeeded_at = stage.world.clock.now()
    assert stage.list_events("overlap_released") == 1
    stage.go(OVERLAP - 3 * timedelta(hours=1))
    assert stage.is_old_alive
    stage.go(4 * timedelta(hours=1))
    assert not stage.is_old_alive
    assert stage.world.clock.now() - succeeded_at < OVERLAP + timedelta(hours=2)
    assert stage.rotation.state is RotationState.COMPLETED
    with stage.world.database.read() as reading:
        assert reading.outbox.load_calls("restart") == ()


def test_plan_and_status_say_what_is_awaited() -> None:
    """A run leaves it alone, and does not look at it again and again."""
    stage = Stage()
    stage.world.run()
    stage.world.advance(seconds=OVERLAP.total_seconds() + 60)
    (action,) = make_plan(stage.world.make_run()).actions
    assert (action.kind, action.reason) == (ActionKind.WAIT, ActionReason.HOOK_AWAITED)
    (row,) = stage.world.show_status()
    assert (row.state, row.next_action, row.revoke_after) == (PatState.OVERLAPPING, NextAction.RETIRE, None)
    assert row.next_at == stage.rotation.predecessor_valid_to
    assert row.last_error is not None
    assert row.last_error.code == "hook_awaited"
    assert "the hook restart has not succeeded" in row.last_error.message
    stage.world.timeline.clear()
    assert stage.world.run().outcomes == ()
    assert not any("verify" in done for done in stage.world.timeline)


def test_old_pat_that_expires_ends_the_wait() -> None:
    """Nothing is revoked; a call that still fails is dropped like any other."""
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    stage.world.run()
    stage.go(timedelta(days=6))
    assert stage.rotation.state is RotationState.COMPLETED
    assert stage.list_events("predecessor_expired") == 1
    assert stage.list_events("hook_call_dropped") == 1
    assert stage.call() == {}


def test_new_pat_that_expires_during_the_wait_is_told() -> None:
    """It cannot be rotated either while its own rotation waits."""
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    stage.world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=4)
    stage.world.advance(days=1)
    stage.world.run()
    assert stage.rotation.new_valid_to is not None
    assert stage.rotation.new_valid_to - stage.rotation.predecessor_valid_to < timedelta(days=1)
    stage.go(timedelta(days=3, hours=20))
    with stage.world.database.read() as reading:
        (told,) = reading.conditions.load_of([ConditionKind.PAT_EXPIRING])
    assert (told.subject, told.code) == (NAME, "hook_awaited")


def test_person_overrules_the_hook_and_says_why() -> None:
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    stage.world.run()
    stage.call()
    run = stage.world.make_run()
    with stage.world.database.read() as reading, pytest.raises(RotationError, match="has not succeeded") as caught:
        check_overlapping(run, reading, NAME)
    assert caught.value.code == "hook_awaited"
    assert "--without-hook --reason" in caught.value.fix
    with pytest.raises(RotationError, match="has not succeeded"):
        revoke_previous(run, NAME)
    assert stage.is_old_alive
    with stage.world.database.read() as reading:
        check_overlapping(run, reading, NAME, without_hook=True)
    revoke_previous(replace(run, reason="restarted by hand"), NAME, without_hook=True)
    assert not stage.is_old_alive
    with stage.world.database.read() as reading:
        (event,) = reading.audit.load_newest(1, AuditFilter(event="hooks_overruled"))
    assert (event.entry.details["hooks"], event.entry.details["reason"]) == ("restart", "restarted by hand")


def test_each_of_several_hooks_must_succeed() -> None:
    first, second, free = ScriptedHook("first", required=True), ScriptedHook("second", required=True), ScriptedHook()
    stage = Stage(first, second, free)
    second.fails = lambda _: BAD
    free.fails = lambda _: BAD
    stage.world.run()
    with pytest.raises(RotationError, match="the hooks first, second have not succeeded"):
        revoke_previous(stage.world.make_run(), NAME)
    stage.call()
    assert stage.awaited == ["second"]
    second.fails = lambda _: None
    stage.world.advance(minutes=1)
    stage.call()
    assert stage.awaited == []
    assert stage.list_events("overlap_released") == 1


def test_hook_of_another_rule_is_not_awaited() -> None:
    stage = Stage()
    rules = replace(RULE, name="one", match=Match(display_name="other"), hooks=("restart",)), RULE
    stage.world.policy = make_policy(*rules)
    stage.set_hooks()
    stage.world.run()
    assert stage.awaited == []


def test_hook_is_awaited_also_by_a_daemon_that_has_not_read_the_settings_which_require_it() -> None:
    """It cannot know that they no longer do: its own are older than the rotation."""
    stage = Stage()
    began = stage.world.clock.now()
    stage.world.advance(hours=1)
    stage.world.rotate(NAME)
    now_required = stage.world.policy
    stage.world.policy = replace(now_required, hooks=(), read_at=began)
    for _ in range(30):
        stage.world.advance(hours=1)
        stage.world.run()
    assert (stage.awaited, stage.is_old_alive, stage.list_events("overlap_released")) == (["restart"], True, 0)
    stage.world.policy = replace(now_required, hooks=(), read_at=stage.world.clock.now())
    stage.world.run()
    assert (stage.awaited, stage.list_events("overlap_released")) == ([], 1)


def test_hook_that_the_settings_no_longer_require_is_not_awaited() -> None:
    """The overlap begins then: whoever renames a hook in the settings has not told any consumer."""
    stage = Stage()
    stage.world.run()
    stage.world.advance(seconds=OVERLAP.total_seconds() + 60)
    stage.set_hooks(ScriptedHook("renamed", required=False))
    assert [action.kind for action in make_plan(stage.world.make_run()).actions] == [ActionKind.RECOVER]
    stage.world.run()
    assert (stage.awaited, stage.list_events("overlap_released")) == ([], 1)
    stage.go(OVERLAP - timedelta(hours=1))
    assert stage.is_old_alive
    stage.go(timedelta(hours=2))
    assert not stage.is_old_alive


def test_hook_that_is_required_later_holds_up_no_overlap_that_has_begun() -> None:
    stage = Stage(ScriptedHook(required=False))
    stage.world.run()
    stage.set_hooks(ScriptedHook(required=True), ScriptedHook("new", required=True))
    stage.world.advance(seconds=OVERLAP.total_seconds() + 60)
    stage.world.run()
    assert not stage.is_old_alive


def test_first_pat_of_a_record_waits_for_no_hook() -> None:
    """There is no old one; a value that was put back after a revocation by hand has none either."""
    stage = Stage()
    stage.world.pats.pats[stage.old].revoked = True
    stage.world.run()
    stage.world.rotate(NAME)
    assert stage.rotation.state in (RotationState.OVERLAPPING, RotationState.COMPLETED)


def test_without_an_overlap_the_old_pat_goes_as_soon_as_the_hook_has_succeeded() -> None:
    stage = Stage()
    stage.world.policy = make_policy(replace(RULE, overlap=timedelta(0)))
    stage.set_hooks()
    stage.world.run()
    stage.world.run()
    assert stage.is_old_alive
    stage.call()
    stage.world.run()
    assert not stage.is_old_alive


def test_success_before_the_value_was_read_back_counts() -> None:
    """The hook may be quicker than the run that stored the value: its success is kept until the overlap is there."""
    stage = Stage()
    stage.world.run_and_die(after="secret_stored")
    assert stage.rotation.state is RotationState.STORED
    assert stage.call() == {"succeeded": 1}
    assert stage.call() == {}
    stage.world.advance(minutes=10)
    stage.world.run()
    assert stage.awaited == ["restart"]
    stage.call()
    assert stage.awaited == []
    assert len(stage.hook.done) == 1


def test_success_while_another_run_has_the_claim_is_noted_later() -> None:
    stage = Stage()
    stage.world.run()
    with claimed(stage.world.make_run(), NAME):
        assert stage.call() == {"succeeded": 1}
        assert stage.awaited == ["restart"]
    stage.call()
    assert stage.awaited == []
    assert len(stage.hook.done) == 1


def test_record_that_was_renamed_meanwhile_stops_waiting() -> None:
    stage = Stage()
    stage.world.run()
    rename(stage.world.make_run(), NAME, "another")
    stage.call()
    with stage.world.database.read() as reading:
        (rotation,) = reading.journal.load_open()
    assert (rotation.name, rotation.awaited_hooks) == ("another", ())


def test_hook_of_a_rule_is_called_when_the_record_was_renamed_twice_meanwhile() -> None:
    """The event names it as it was called then, and somebody else has that name now."""
    stage = Stage()
    rules = replace(RULE, name="one", match=Match(display_name=NAME), hooks=("restart",)), RULE
    stage.world.policy = make_policy(*rules)
    stage.set_hooks()
    stage.world.run()
    rename(stage.world.make_run(), NAME, "another")
    rename(stage.world.make_run(), "another", "third")
    stage.world.add_managed("other")
    rename(stage.world.make_run(), "other", NAME)
    stage.call()
    assert stage.hook.heard == [("secret_stored", NAME)]
    with stage.world.database.read() as reading:
        (rotation,) = reading.journal.load_open()
    assert (rotation.name, rotation.awaited_hooks) == ("third", ())
    (event,) = [event for _, event in stage.hook.done]
    assert event.authorization_id == rotation.new_authorization_id


def test_restored_database_without_the_record_ends_no_wait() -> None:
    """What is gone waits for nothing."""
    stage = Stage()
    stage.world.run()
    with claimed(stage.world.make_run(), NAME):
        stage.call()
    with stage.world.database.read() as reading:
        (call,) = reading.outbox.load_calls("restart")
    stage.world.forget()
    assert end_wait(stage.world.make_run(), call)


@pytest.mark.parametrize("fault", CommitFault)
def test_wait_ends_whatever_dies(fault: CommitFault) -> None:
    """Every transaction from the call to the begin of the overlap goes wrong once, and the process with it."""
    number = died = 0
    while True:
        number += 1
        stage = Stage()
        stage.world.run()
        stage.world.database.faults[stage.world.database.begun + number] = fault
        try:
            stage.call()
        except (DatabaseUnreachableError, DatabaseLockedError, ProcessDied):
            died += 1
        if stage.world.database.faults:
            break
        for _ in range(3):
            stage.memory = HookMemory()
            stage.world.database.revive()
            stage.world.advance(minutes=10)
            stage.call()
        assert stage.awaited == [], number
        assert len(set(stage.hook.ids)) == 1
        assert stage.list_events("overlap_released") == 1, number
        assert stage.is_old_alive
        stage.world.check_promises("")
    assert died >= 4


def test_wait_ends_once_when_the_process_is_killed_at_any_moment() -> None:
    """From the call of a hook that must succeed to the begin of the overlap."""
    number = 0
    while True:
        stage = Stage()
        stage.world.run()
        reaper = Reaper(stage.world.database, number)
        stage.hook.meet = reaper.meet
        for _ in range(4):
            try:
                stage.call()
            except ProcessDied:
                stage.world.database.revive()
                stage.memory = HookMemory()
            stage.world.advance(minutes=10)
        reaper.rest()
        assert stage.awaited == [], (number, reaper.met)
        assert len(set(stage.hook.ids)) == 1
        assert stage.list_events("hook_succeeded") == stage.list_events("overlap_released") == 1, (number, reaper.met)
        assert stage.is_old_alive
        stage.world.check_promises("")
        if not reaper.has_killed:
            break
        number += 1
    assert number > 20
