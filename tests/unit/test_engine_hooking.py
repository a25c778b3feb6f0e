"""Call hooks: at least once, with one id, whatever dies or fails, and one that fails holds up no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.places import SignInLapsed
from rotator.domain.events.rotations import RotationCompleted
from rotator.domain.measurements import ReceiverFigures
from rotator.domain.monitoring_errors import HookError
from rotator.domain.policy import Match
from rotator.engine.auditing import record
from rotator.engine.delivering import deliver
from rotator.engine.hooking import MOST_TRIES, MOST_WAITING, HookMemory, call_hooks, load_failing
from rotator.engine.keeping import forget, rename
from rotator.engine.measuring import RotationTally, measure
from rotator.engine.outage import DeliveryMemory
from rotator.engine.receiver_claim import CLAIMED_FOR, MOVE_CURSOR_AFTER
from rotator.engine.report import RunReport
from rotator.engine.status_memory import StatusMemory
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError, FailureKind, StoppedError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.hook import HOOK_UNUSABLE
from rotator.wiring.hooks import call_at_end
from tests.support.engine import ACCOUNT, NAME, OVERLAP, VAULT, make_world
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.hooks import ScriptedHook
from tests.support.policies import RULE, make_policy
from tests.support.reaper import Reaper
from tests.support.receivers import ScriptedNotifier
from tests.support.stop import make_stop

BAD = HookError(
    "the hook restart exited with 1; it printed: no such deployment", fix="Mend it.", output="no such deployment"
)
MISSING = HookError("kubectl is not on the PATH", code=HOOK_UNUSABLE, fix="Install it.", kind=FailureKind.UNUSABLE)
PAUSES = [0, 30, 90, 210, 450, 930, 1890, 3810, 7410, 11010]
"""When a call that always fails is made, in seconds."""


class Caller:
    """Hooks, and the process that calls them; what it remembers is lost with it."""

    def __init__(self, *hooks: ScriptedHook) -> None:
        self.world = make_world()
        self.restart_hook = ScriptedHook(events=("rotation_completed",))
        self.hooks = hooks or (self.restart_hook,)
        self.world.policy = replace(self.world.policy, hooks=tuple(hook.terms for hook in self.hooks))
        self.memory = HookMemory()

    def happen(self, subject: str = NAME, event: Event | None = None) -> None:
        """Something happens."""
        with self.world.database.begin() as work:
            record(work, self.world.make_run(), subject, event or RotationCompleted(), self.world.clock.now())

    def call(self) -> dict[str, int]:
        """One job of the daemon."""
        return dict(call_hooks(self.world.make_run(), self.hooks, self.memory).counts)

    def restart(self) -> None:
        """The process is another one now."""
        self.world.database.revive()
        self.memory = HookMemory()

    def list_events(self, name: str) -> list[dict[str, object]]:
        """The details of the events of that name in the audit log."""
        with self.world.database.read() as reading:
            found = reading.audit.load_newest(1000, AuditFilter(event=name))
        return [dict(event.entry.details) for event in found]

    def list_kinds(self) -> set[ConditionKind]:
        """The conditions that last."""
        with self.world.database.read() as reading:
            return {found.kind for found in reading.conditions.load()}

    def measure(self) -> tuple[ReceiverFigures, ...]:
        """What monitoring is told of the hooks."""
        return measure(self.world.make_run(), self.world.database, (), RotationTally(), StatusMemory()).receivers


@pytest.fixture
def caller() -> Iterator[Caller]:
    """One hook, known for a while."""
    made = Caller()
    made.call()
    yield made
    made.world.check_promises(repr([hook.done for hook in made.hooks]))


def test_hook_is_called_about_a_rotation_with_all_that_a_consumer_needs() -> None:
    """In its first run: it is registered before anything happens. The old PAT is what it hears of later."""
    hook = ScriptedHook(events=("secret_stored", "revocation_requested"))
    caller = Caller(hook)
    world = caller.world
    old = world.record().authorization_id
    world.rotate(NAME)
    assert caller.call() == {"succeeded": 1}
    ((delivery_id, told),) = hook.done
    record_now = world.record()
    assert (told.event, told.subject, told.name) == ("secret_stored", NAME, NAME)
    assert (told.account, told.organization) == (ACCOUNT, "contoso")
    assert (told.authorization_id, told.expires_at) == (record_now.authorization_id, record_now.valid_to)
    assert told.authorization_id != old
    assert (told.vault, told.secret_name) == (VAULT, record_now.secret_name)
    assert told.secret_version == record_now.secret_version
    assert told.rotation_id == world.rotations()[-1].id
    assert caller.list_events("hook_succeeded") == [
        {"delivery_id": delivery_id, "about": f"secret_stored of {NAME}", "output": "restarted"}
    ]
    world.advance(seconds=OVERLAP.total_seconds() + 1)
    world.run()
    caller.call()
    assert hook.heard[1:] == [("revocation_requested", NAME)]
    assert hook.done[1][1].authorization_id == old


def test_idle_look_writes_nothing(caller: Caller) -> None:
    caller.happen()
    caller.call()
    before = caller.world.database.begun
    for _ in range(5):
        caller.world.advance(minutes=1)
        assert caller.call() == {}
    assert caller.world.database.begun == before


def test_without_hooks_nothing_is_read_after_the_first_look() -> None:
    caller = Caller()
    caller.hooks = ()
    assert caller.call() == {}
    caller.world.database.lost_reads = 1
    assert caller.call() == {}


def test_new_hook_is_not_called_about_the_past(caller: Caller) -> None:
    caller.happen()
    new = ScriptedHook("new", events=("rotation_completed",))
    caller.hooks = (new,)
    caller.call()
    assert new.done == []
    caller.happen("later")
    caller.call()
    assert new.heard == [("rotation_completed", "later")]


def make_caller_with_rule(named: ScriptedHook, free: ScriptedHook) -> Caller:
    """A caller beside whose record there is another one, and the rule of that names the first hook."""
    caller = Caller(named, free)
    world = caller.world
    world.add_managed("other")
    rules = replace(RULE, name="one", match=Match(display_name="other"), hooks=("named",)), RULE
    world.policy = replace(make_policy(*rules), hooks=world.policy.hooks)
    caller.call()
    return caller


def test_hook_is_called_for_the_rules_that_name_it() -> None:
    """One that no rule names is called about everything, accounts too."""
    events = ("rotation_completed", "sign_in_lapsed")
    named, free = ScriptedHook("named", events), ScriptedHook("free", events)
    caller = make_caller_with_rule(named, free)
    for name in (NAME, "other", "forgotten"):
        caller.happen(name)
    caller.happen(ACCOUNT, SignInLapsed(code="sign_in_expired", message="the sign-in expired"))
    caller.call()
    assert named.heard == [("rotation_completed", "other")]
    assert [subject for _, subject in free.heard] == [NAME, "other", "forgotten", ACCOUNT]
    assert [event.name for _, event in free.done] == [NAME, "other", "forgotten", None]


def test_hook_is_told_nothing_of_a_later_record_of_that_name() -> None:
    """Neither of one that got the name of a record that was forgotten, nor of one that was renamed to it."""
    named = ScriptedHook("named", ("rotation_completed", "pat_renamed"))
    free = ScriptedHook("free", ("rotation_completed", "pat_renamed"))
    caller = make_caller_with_rule(named, free)
    world = caller.world
    caller.happen(NAME)
    forget(world.make_run(), NAME)
    rename(world.make_run(), "other", NAME)
    caller.call()
    other = world.record().authorization_id
    assert [(event.event, event.name, event.authorization_id) for _, event in named.done] == [
        ("pat_renamed", "other", other),
        ("pat_renamed", NAME, other),
    ]
    assert [event.authorization_id for _, event in free.done] == [None, other, other]


def test_call_that_fails_is_made_again_at_growing_gaps_and_holds_up_no_other(caller: Caller) -> None:
    """With one id. What it printed is in the audit log each time. It is a condition until none waits."""
    hook, world = caller.restart_hook, caller.world
    hook.fails = lambda event: BAD if event.subject == "bad" else None
    caller.happen("bad")
    caller.happen("good")
    assert caller.call() == {"failed": 1, "succeeded": 1}
    assert hook.heard == [("rotation_completed", "good")]
    assert ConditionKind.HOOK_FAILING in caller.list_kinds()
    assert caller.measure() == (ReceiverFigures("restart", False, 1, 0),)
    with world.database.read() as reading:
        (failing,) = load_failing(reading, caller.hooks)
    assert (failing.event.subject, failing.failure and failing.failure.message) == ("bad", BAD.message)
    assert caller.call() == {}
    world.advance(seconds=31)
    assert caller.call() == {"failed": 1}
    hook.fails = lambda _: None
    world.advance(seconds=61)
    assert caller.call() == {"succeeded": 1}
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
    failed = caller.list_events("hook_failed")
    assert [found["output"] for found in failed] == ["no such deployment"] * 2
    assert {found["delivery_id"] for found in failed} == {hook.ids[1]}
    assert len(caller.list_events("hook_restored")) == 1
    assert caller.measure() == (ReceiverFigures("restart", True, 0, 0),)


def test_call_that_always_fails_is_dropped_and_people_hear_of_it(caller: Caller) -> None:
    hook, world = caller.restart_hook, caller.world
    ops = ScriptedNotifier()
    deliver(world.make_run(), (ops,), DeliveryMemory())
    hook.fails = lambda _: BAD
    began = world.clock.now()
    caller.happen()
    tries: list[float] = []
    while world.clock.now() - began < timedelta(hours=5):
        if caller.call():
            tries.append((world.clock.now() - began).total_seconds())
        world.advance(seconds=10)
        deliver(world.make_run(), (ops,), DeliveryMemory())
    assert tries == PAUSES
    assert len(PAUSES) == MOST_TRIES
    assert len(caller.list_events("hook_call_dropped")) == 1
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
    assert caller.measure()[-1] == ReceiverFigures("restart", True, 0, 1)
    told = [name for name, _ in ops.heard]
    assert sorted(set(told)) == ["hook_call_dropped", "hook_failing"]
    assert ops.sent[0][1].title.startswith("The hook restart is failing (hook_failed)")
    assert BAD.message in ops.sent[0][1].text


def test_dropped_calls_are_forgotten_after_thirty_days(caller: Caller) -> None:
    """A hook that never works leaves no more behind than those of a month; the audit log has them all."""
    caller.restart_hook.fails = lambda _: HookError("HTTP 422", is_refusal=True)

    def list_dropped() -> list[int]:
        with caller.world.database.read() as reading:
            return [call.sequence for call in reading.outbox.load_calls("restart") if call.set_aside_at is not None]

    for days in (10, 19, 2):
        caller.happen()
        for _ in range(4):
            caller.call()
            caller.world.advance(hours=1)
        caller.world.advance(days=days)
    old = list_dropped()
    assert len(old) == 3, "the first is 31 days old"
    caller.happen()
    caller.call()
    assert [number for number in list_dropped() if number in old] == old[1:]
    assert len(caller.list_events("hook_call_dropped")) == 3


def test_webhook_that_refuses_a_call_three_times_is_not_asked_again(caller: Caller) -> None:
    caller.restart_hook.fails = lambda _: HookError("HTTP 422", is_refusal=True)
    caller.happen()
    for _ in range(4):
        caller.call()
        caller.world.advance(hours=1)
    assert caller.restart_hook.tries == 3
    assert len(caller.list_events("hook_call_dropped")) == 1


def test_hook_that_cannot_be_called_is_a_condition_and_its_calls_wait(caller: Caller) -> None:
    """From the start on. They are no failed tries, however long it lasts, and are made when it can be called."""
    hook, world = caller.restart_hook, caller.world
    hook.unusable = MISSING
    caller.restart()
    caller.call()
    assert ConditionKind.HOOK_FAILING in caller.list_kinds()
    caller.happen()
    for _ in range(3 * MOST_TRIES):
        world.advance(hours=1)
        caller.call()
    assert hook.tries == 0
    assert len(caller.list_events("hook_failed")) == 1
    hook.unusable = None
    world.advance(hours=1)
    assert caller.call() == {"succeeded": 1}
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()


def test_hook_that_can_be_called_after_a_restart_is_no_condition_any_more(caller: Caller) -> None:
    caller.restart_hook.unusable = MISSING
    caller.restart()
    caller.call()
    caller.restart_hook.unusable = None
    caller.world.advance(minutes=2)
    caller.restart()
    caller.call()
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()


def test_no_more_calls_are_written_down_than_have_room_and_none_is_lost(caller: Caller) -> None:
    caller.restart_hook.fails = lambda _: BAD
    names = [f"pat-{number}" for number in range(MOST_WAITING + 5)]
    for name in names:
        caller.happen(name)
    caller.call()
    with caller.world.database.read() as reading:
        assert len(reading.outbox.load_calls("restart")) == MOST_WAITING
    caller.restart_hook.fails = lambda _: None
    caller.world.advance(minutes=1)
    caller.call()
    assert sorted(subject for _, subject in caller.restart_hook.heard) == sorted(names)


def test_event_that_cannot_be_read_is_told_and_the_next_is_not_lost(caller: Caller) -> None:
    caller.happen("pat-1")
    caller.happen("pat-2")
    caller.world.database.spoil("pat-1")
    assert caller.call() == {"succeeded": 1}
    assert caller.restart_hook.heard == [("rotation_completed", "pat-2")]
    assert len(caller.list_events("hook_call_dropped")) == 1


def test_unreadable_event_about_a_later_name_keeps_no_call_back(caller: Caller) -> None:
    """It is set aside in its turn only."""
    caller.happen()
    rename(caller.world.make_run(), NAME, "second")
    caller.world.database.spoil("second")
    caller.call()
    assert caller.restart_hook.heard == [("rotation_completed", NAME)]


def test_cursor_moves_on_when_nothing_is_to_be_called(caller: Caller) -> None:
    """So that a hook which is named for more is not called about all the past."""
    for number in range(3):
        caller.happen(f"pat-{number}", SignInLapsed(code="sign_in_expired", message="the sign-in expired"))
    caller.world.advance(seconds=MOVE_CURSOR_AFTER.total_seconds())
    caller.call()
    more = ScriptedHook(events=("sign_in_lapsed",))
    caller.hooks = (more,)
    caller.call()
    assert more.done == []


def test_one_process_calls_while_another_is_at_it(caller: Caller) -> None:
    other = ScriptedHook(events=("rotation_completed",))

    def meet(_: str) -> None:
        call_hooks(caller.world.make_run(), (other,), HookMemory())

    caller.restart_hook.meet = meet
    caller.happen()
    assert caller.call() == {"succeeded": 1}
    assert other.done == []
    caller.restart_hook.meet = lambda _: caller.world.database.die()
    caller.happen()
    with pytest.raises(ProcessDied):
        caller.call()
    caller.restart()
    caller.hooks = (other,)
    assert caller.call() == {}
    caller.world.advance(seconds=CLAIMED_FOR.total_seconds() + 1)
    assert caller.call() == {"succeeded": 1}


@pytest.mark.parametrize("fault", CommitFault)
def test_nothing_is_lost_when_the_process_dies_at_any_commit(fault: CommitFault) -> None:
    """Every transaction of a call goes wrong once and the process with it; what comes twice has the same id."""
    number = died = 0
    while True:
        number += 1
        caller = Caller()
        caller.call()
        caller.restart_hook.errors = [BAD, None]
        caller.happen()
        caller.world.database.faults[caller.world.database.begun + number] = fault
        try:
            caller.call()
        except (DatabaseUnreachableError, DatabaseLockedError):
            died += 1
        if caller.world.database.faults:
            break
        for _ in range(3):
            caller.restart()
            caller.world.advance(minutes=10)
            caller.call()
        assert caller.restart_hook.heard, number
        assert len(set(caller.restart_hook.ids)) == 1, (number, caller.restart_hook.ids)
        assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
    assert died >= 3


def test_nothing_is_lost_when_the_process_is_killed_at_any_moment_of_a_call() -> None:
    """At each read, begin, commit and request: a hook that is called twice sees the same id, and it is noted once."""
    moments: set[str] = set()
    number = 0
    while True:
        caller = Caller()
        caller.call()
        caller.restart_hook.errors = [None, BAD]
        caller.happen("pat-1")
        caller.happen("pat-2")
        reaper = Reaper(caller.world.database, number)
        caller.restart_hook.meet = reaper.meet
        for _ in range(5):
            try:
                caller.call()
            except ProcessDied:
                caller.restart()
            caller.world.advance(minutes=10)
        reaper.rest()
        told = {delivery_id: event.subject for delivery_id, event in caller.restart_hook.done}
        assert sorted(told.values()) == ["pat-1", "pat-2"], (number, reaper.met)
        assert len(caller.restart_hook.done) <= 3
        assert len(caller.list_events("hook_succeeded")) == 2, (number, reaper.met)
        assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
        if not reaper.has_killed:
            break
        moments.add(reaper.met[-1])
        number += 1
    assert moments == {"read", "begin", "commit", "before", "after"}
    assert number > 25


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_lost_when_the_process_dies_while_it_calls(caller: Caller, when: str) -> None:
    """After the hook did its work, it is called again, with the same id."""
    caller.restart_hook.meet = lambda moment: caller.world.database.die() if moment == when else None
    caller.happen()
    with pytest.raises(ProcessDied):
        caller.call()
    caller.restart_hook.meet = lambda _: None
    caller.restart()
    caller.world.advance(minutes=10)
    assert caller.call() == {"succeeded": 1}
    assert len(caller.restart_hook.done) == (1 if when == "before" else 2)
    assert len(set(caller.restart_hook.ids)) == 1


def test_what_was_done_and_could_not_be_noted_is_not_done_again_by_the_same_process(caller: Caller) -> None:
    caller.happen()
    caller.world.database.faults[caller.world.database.begun + 2] = CommitFault.DROPPED
    with pytest.raises(DatabaseUnreachableError):
        caller.call()
    assert caller.call() == {"succeeded": 1}
    assert len(caller.restart_hook.done) == 1


def test_hook_that_is_ended_by_a_stop_has_not_failed(caller: Caller) -> None:
    """The next process calls it again, with the same id."""

    def stop(when: str) -> None:
        if when == "before":
            caller.world.stop.set()
            raise StoppedError

    caller.restart_hook.meet = stop
    caller.happen()
    with pytest.raises(StoppedError):
        caller.call()
    assert caller.list_events("hook_failed") == []
    caller.world.stop = make_stop(caller.world.clock)
    caller.restart_hook.meet = lambda _: None
    caller.restart()
    assert caller.call() == {"succeeded": 1}


def test_hook_is_not_called_about_hooks_and_deliveries(caller: Caller) -> None:
    caller.hooks = (ScriptedHook(events=("hook_succeeded", "hook_failed", "notification_delivered")), *caller.hooks)
    caller.happen()
    for _ in range(3):
        caller.call()
    assert [len(hook.heard) for hook in caller.hooks] == [0, 1]


def test_call_that_failed_by_a_fast_clock_is_made_again_when_the_clock_is_right(caller: Caller) -> None:
    """No stored time lets a call or a hook rest for longer than a failure of now could."""
    hook = caller.restart_hook
    for errors in ([BAD], [MISSING]):
        caller.world.host_clock.ahead = timedelta(days=3650)
        caller.happen()
        hook.errors = list(errors)
        assert caller.call() == {"failed": 1}
        caller.world.host_clock.ahead = timedelta(0)
        assert caller.call() == {"succeeded": 1}


def test_failure_of_the_last_hook_ends_at_the_end_of_a_run_without_hooks(caller: Caller) -> None:
    """A host that has only cron has no other moment for it."""
    caller.happen()
    caller.restart_hook.errors = [BAD]
    caller.call()
    assert ConditionKind.HOOK_FAILING in caller.list_kinds()
    call_at_end(caller.world.make_run(), (), RunReport("run"))
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
