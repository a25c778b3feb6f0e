"""Deliver notifications: at least once, with one id, whatever dies or is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.delivery import Receiver
from rotator.domain.events.event import Event, Severity
from rotator.domain.events.inventory import PatResumed
from rotator.domain.events.places import (
    AuditBroken,
    DatabaseLost,
    SignInEndForeseen,
    SignInLapsed,
    SignInRestored,
    VaultDown,
)
from rotator.domain.events.rotations import RotationBlocked, RotationCompleted
from rotator.domain.managed_pat import Failure
from rotator.domain.measurements import ReceiverFigures
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Affected, NotificationKind, make_notification
from rotator.domain.policy import Guardrails
from rotator.domain.telling import Cause, Habits, Notice, Phase
from rotator.engine.auditing import record
from rotator.engine.delivering import MOST_AT_ONCE, deliver
from rotator.engine.keeping import pause, rename
from rotator.engine.measuring import RotationTally, measure
from rotator.engine.outage import DeliveryMemory
from rotator.engine.receiver_claim import CLAIMED_FOR, MOVE_CURSOR_AFTER
from rotator.engine.status_memory import StatusMemory
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError, FailureKind, StoppedError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.notifier import UNUSABLE
from tests.support.engine import ACCOUNT, NAME, VAULT, make_world
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.hooks import ScriptedHook
from tests.support.policies import RULE, make_policy
from tests.support.reaper import Reaper
from tests.support.receivers import ScriptedNotifier
from tests.support.stop import make_stop

DOWN = DeliveryError("ops does not answer", code="connection_refused", fix="Bring it back.")
REFUSED = DeliveryError("ops answered HTTP 400", code="delivery_refused", is_refusal=True)
LAPSED = SignInLapsed(code="sign_in_expired", message="the sign-in expired")


class Post:
    """Receivers, and the process that delivers to them; what it remembers is lost with it."""

    def __init__(self, *notifiers: ScriptedNotifier) -> None:
        self.world = make_world()
        self.ops = ScriptedNotifier()
        self.notifiers = notifiers or (self.ops,)
        self.memory = DeliveryMemory()

    def begin(self, event: Event, subject: str = ACCOUNT) -> None:
        """Something happens."""
        with self.world.database.begin() as work:
            record(work, self.world.make_run(), subject, event, self.world.clock.now())

    def deliver(self) -> dict[str, int]:
        """One job of the daemon."""
        return dict(deliver(self.world.make_run(), self.notifiers, self.memory).counts)

    def restart(self) -> None:
        """The process is another one now."""
        self.world.database.revive()
        self.memory = DeliveryMemory()

    def list_events(self, name: str) -> list[str]:
        """The subjects of the events of that name in the audit log."""
        with self.world.database.read() as reading:
            found = reading.audit.load_newest(1000, AuditFilter(event=name))
        return [event.entry.subject for event in found]

    def measure(self) -> tuple[ReceiverFigures, ...]:
        """What monitoring is told of the receivers."""
        run = self.world.make_run()
        return measure(run, self.world.database, (), RotationTally(), StatusMemory()).receivers

    def list_kinds(self) -> set[ConditionKind]:
        """The conditions that last."""
        with self.world.database.read() as reading:
            return {found.kind for found in reading.conditions.load()}


@pytest.fixture
def post() -> Iterator[Post]:
    """One receiver, known for a while."""
    made = Post()
    made.deliver()
    yield made
    made.world.check_promises(repr([item.sent for item in made.notifiers]))


def test_condition_is_told_once_and_when_it_is_over(post: Post) -> None:
    """What waits, until when, why and what to do is in it; the audit log says who was told."""
    post.world.add_managed("other", days_left=2)
    post.begin(LAPSED)
    assert post.deliver() == {"delivered": 1}
    assert post.deliver() == {}
    post.begin(SignInRestored())
    assert post.deliver() == {"delivered": 1}
    assert post.ops.heard == [("sign_in_needed", "began"), ("sign_in_needed", "over")]
    told = post.ops.sent[0][1]
    assert told.title == "build-bot must sign in again (sign_in_expired); 2 PATs wait, the first expires in 2 days"
    assert (told.waiting, told.command) == (2, f"rotator login {ACCOUNT}")
    assert post.ops.sent[1][1].title == "Over: build-bot must sign in again"
    assert len(set(post.ops.ids)) == 2
    assert post.list_events("notification_delivered") == ["ops", "ops"]


def test_command_has_a_line_of_its_own_also_when_the_failure_names_it() -> None:
    """It is copied from a telephone; the sentence after it says who must type it."""
    now = datetime(2026, 12, 1, tzinfo=UTC)
    failure = Failure("sign_in_expired", "Entra refused it.", f"Somebody must sign in: run `rotator login {ACCOUNT}`.")
    cause = Cause(ConditionKind.SIGN_IN_NEEDED)
    notice = Notice(cause, Phase.BEGAN, (ACCOUNT,), (ACCOUNT,), now, 1, 0)
    text = make_notification(notice, Affected(1, None, failure), now).text
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index(f"Fix: rotator login {ACCOUNT}") + 1] == failure.fix


def test_only_what_waits_for_the_sign_in_is_counted(post: Post) -> None:
    """One that is paused waits for whoever paused it."""
    post.world.add_managed("other", days_left=2)
    pause(post.world.make_run(), "other")
    post.begin(LAPSED)
    post.deliver()
    told = post.ops.sent[0][1]
    assert (told.waiting, "1 PAT waits" in told.title) == (1, True)


def test_notification_about_a_pat_that_the_policy_blocks_says_what_the_policy_has_against_it(post: Post) -> None:
    """Nothing of it stands in the record: it is so for as long as the policy says so."""
    post.world.policy = make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",)))
    post.world.run()
    assert post.world.record().last_failure is None
    post.deliver()
    [told] = [told for _, told in post.ops.sent if told.name == "rotation_blocked"]
    assert "Why: its scope vso.code is denied by guardrails.deny_scopes" in told.text
    assert "only the scopes its consumers need" in told.fix
    post.world.advance(days=4)
    post.world.run()
    post.deliver()
    [told] = [told for _, told in post.ops.sent if told.name == "pat_expiring"]
    assert "Why: its scope vso.code is denied by guardrails.deny_scopes" in told.text


def test_idle_look_writes_nothing(post: Post) -> None:
    post.begin(LAPSED)
    post.deliver()
    before = post.world.database.begun
    for _ in range(5):
        post.world.advance(minutes=1)
        post.deliver()
    assert post.world.database.begun == before


def test_new_receiver_starts_at_the_head_and_hears_what_lasts(post: Post) -> None:
    """No event of long ago, but what is wrong now; an event after that is told, with what the runbook says."""
    foreseen = SignInEndForeseen(days=3, ends_at=post.world.clock.now())
    post.begin(foreseen)
    post.begin(LAPSED)
    new = ScriptedNotifier("new")
    post.notifiers = (new,)
    post.deliver()
    assert new.heard == [("sign_in_needed", "began")]
    post.begin(foreseen)
    post.deliver()
    assert new.heard[1:] == [("sign_in_end_foreseen", None)]
    assert new.sent[1][1].kind is NotificationKind.EVENT
    assert new.sent[1][1].title == "The sign-in of build-bot ends soon"


def test_receiver_hears_each_event_that_it_asks_for_in_order(post: Post) -> None:
    post.ops.events = frozenset({"rotation_completed"})
    for number in range(MOST_AT_ONCE + 5):
        post.begin(RotationCompleted(), f"pat-{number}")
    assert post.deliver() == {"delivered": MOST_AT_ONCE}
    assert post.deliver() == {"delivered": 5}
    assert [item.subjects[0] for _, item in post.ops.sent] == [f"pat-{number}" for number in range(MOST_AT_ONCE + 5)]


def test_nobody_is_told_of_deliveries(post: Post) -> None:
    """However a receiver asks for it."""
    post.ops.events = frozenset({"notification_delivered", "receiver_failed", "notification_refused"})
    post.begin(LAPSED)
    for _ in range(3):
        post.deliver()
    assert post.ops.heard == [("sign_in_needed", "began")]


def test_receiver_that_is_down_hears_later_and_the_others_hear_of_it() -> None:
    """Tried at growing gaps, with one id; what happened meanwhile comes after it."""
    ops, backup = ScriptedNotifier(), ScriptedNotifier("backup", Habits(down_after=timedelta(hours=1)))
    post = Post(ops, backup)
    post.deliver()
    ops.errors = [DOWN] * 6
    post.begin(LAPSED)
    tries: list[int] = []
    for minute in range(120):
        post.deliver()
        if ops.tries > len(tries):
            tries.append(minute)
        if minute == 30:
            post.begin(SignInRestored())
        post.world.advance(minutes=1)
    assert tries[:6] == [0, 1, 2, 4, 8, 16]
    assert ops.heard == [("sign_in_needed", "began"), ("sign_in_needed", "over")]
    assert backup.heard == [("sign_in_needed", "began"), ("sign_in_needed", "over")]
    assert post.list_events("receiver_failed") == ["ops"]
    assert post.list_events("receiver_restored") == ["ops"]
    ops.errors = [DOWN] * 99
    post.begin(LAPSED)
    for _ in range(180):
        post.deliver()
        post.world.advance(minutes=1)
    assert backup.heard[2:] == [("sign_in_needed", "began"), ("receiver_failing", "began")]
    assert ConditionKind.RECEIVER_FAILING in post.list_kinds()
    assert post.measure() == (ReceiverFigures("backup", True, 0, 0), ReceiverFigures("ops", False, 1, 0))
    post.notifiers = (backup,)
    post.deliver()
    assert backup.heard[4:] == [("receiver_failing", "over")] or (
        post.deliver() and backup.heard[4:] == [("receiver_failing", "over")]
    )
    assert post.list_events("receiver_dropped") == ["ops"]


def test_notification_that_a_receiver_never_takes_is_set_aside(post: Post) -> None:
    """It holds up no other; it is named in the audit log, and the next about the same is tried again."""
    post.ops.refuses = lambda item: item.name == "rotation_blocked"
    post.begin(RotationBlocked(code="denied", message="no"), "pat-1")
    for _ in range(10):
        post.deliver()
        post.world.advance(hours=1)
    assert post.ops.heard == []
    post.begin(LAPSED)
    for _ in range(10):
        post.deliver()
        post.world.advance(hours=1)
    assert post.ops.heard == [("sign_in_needed", "began")]
    assert post.list_events("notification_refused") == ["ops"]
    assert ConditionKind.RECEIVER_FAILING not in post.list_kinds()
    assert post.measure() == (ReceiverFigures("ops", True, 0, 1),)
    tries = post.ops.tries
    post.deliver()
    assert post.ops.tries == tries
    post.ops.refuses = lambda _: False
    for _ in range(24):
        post.world.advance(hours=1)
        post.deliver()
    assert ("rotation_blocked", "lasts") in post.ops.heard


def test_event_that_is_refused_is_set_aside_and_the_next_is_told(post: Post) -> None:
    post.ops.events = frozenset({"rotation_completed"})
    post.ops.errors = [REFUSED] * 3
    for name in ("pat-1", "pat-2"):
        post.begin(RotationCompleted(), name)
    for _ in range(4):
        post.deliver()
        post.world.advance(hours=1)
    assert [item.subjects for _, item in post.ops.sent] == [("pat-2",)]
    assert post.list_events("notification_refused") == ["ops"]


def test_event_that_cannot_be_read_is_set_aside(post: Post) -> None:
    """Those after it are told."""
    post.ops.events = frozenset({"rotation_completed"})
    for name in ("pat-1", "pat-2"):
        post.begin(RotationCompleted(), name)
    number = post.world.database.spoil("pat-1")
    assert post.deliver() == {"delivered": 1}
    assert [item.subjects for _, item in post.ops.sent] == [("pat-2",)]
    assert post.list_events("notification_refused") == ["ops"]
    assert number > 0


def test_receiver_that_cannot_be_used_is_a_condition_from_the_start() -> None:
    """Before there is anything to tell; over when it can be used after a restart."""
    ops = ScriptedNotifier()
    ops.unusable = DeliveryError("no plugin takes the url", code=UNUSABLE, fix="Correct it.", kind=FailureKind.UNUSABLE)
    post = Post(ops)
    post.deliver()
    assert ConditionKind.RECEIVER_FAILING in post.list_kinds()
    post.restart()
    ops.unusable = None
    post.world.advance(minutes=5)
    post.deliver()
    assert ConditionKind.RECEIVER_FAILING not in post.list_kinds()
    assert post.list_events("receiver_restored") == ["ops"]


def test_receiver_hears_only_what_is_grave_enough(post: Post) -> None:
    post.ops.habits = Habits(min_severity=Severity.CRITICAL)
    post.begin(LAPSED)
    post.begin(AuditBroken(sequence=3), "audit_log")
    post.deliver()
    assert post.ops.heard == [("audit_broken", "began")]


def test_cursor_moves_on_when_nothing_is_told(post: Post) -> None:
    """So that a receiver which asks for more is not told of all the past."""
    for number in range(5):
        post.begin(RotationCompleted(), f"pat-{number}")
    post.world.advance(seconds=MOVE_CURSOR_AFTER.total_seconds())
    post.deliver()
    post.ops.events = frozenset({"rotation_completed"})
    post.deliver()
    assert post.ops.sent == []


def test_database_that_was_restored_leaves_no_cursor_beyond_its_end(post: Post) -> None:
    restore = post.world.database.back_up()
    for _ in range(5):
        post.begin(RotationCompleted(), NAME)
    post.world.advance(seconds=MOVE_CURSOR_AFTER.total_seconds())
    post.deliver()
    with post.world.database.read() as reading:
        kept = reading.outbox.load_receivers()[0]
    restore()
    with post.world.database.begin() as work:
        work.outbox.save_receiver(kept)
    post.deliver()
    post.begin(SignInEndForeseen(days=3, ends_at=post.world.clock.now()))
    post.deliver()
    assert post.ops.heard == [("sign_in_end_foreseen", None)]


def test_one_process_delivers_while_another_is_at_it(post: Post) -> None:
    """Another one that comes in the middle sends nothing; after the claim is over it sends what is left."""
    other = ScriptedNotifier()
    counts = []
    post.ops.meet = lambda when: counts.append(
        deliver(post.world.make_run(), (other,), DeliveryMemory()).counts if when == "before" else {}
    )
    post.begin(LAPSED)
    assert post.deliver() == {"delivered": 1}
    assert (other.sent, counts) == ([], [{}, {}])

    post.ops.meet = lambda _: post.world.database.die()
    post.begin(SignInRestored())
    with pytest.raises(ProcessDied):
        post.deliver()
    post.restart()
    post.notifiers = (other,)
    assert post.deliver() == {}
    post.world.advance(seconds=CLAIMED_FOR.total_seconds() + 1)
    assert post.deliver() == {"delivered": 1}
    assert other.heard == [("sign_in_needed", "over")]


@pytest.mark.parametrize("fault", CommitFault)
def test_nothing_is_lost_when_the_process_dies_at_any_commit(fault: CommitFault) -> None:
    """Every transaction of a delivery goes wrong once and the process with it; what comes twice has the same id."""
    number = died = 0
    while True:
        number += 1
        post = Post()
        post.deliver()
        post.ops.events = frozenset({"rotation_completed"})
        post.begin(LAPSED)
        post.begin(RotationCompleted(), NAME)
        post.world.database.faults[post.world.database.begun + number] = fault
        try:
            post.deliver()
        except (DatabaseUnreachableError, DatabaseLockedError):
            died += 1
        if post.world.database.faults:
            break
        for _ in range(3):
            post.restart()
            post.world.advance(minutes=10)
            post.deliver()
        assert {name for name, _ in post.ops.heard} == {"sign_in_needed", "rotation_completed"}, number
        assert len(set(post.ops.ids)) == 2, (number, post.ops.heard)
    assert died >= 4


def live_and_die(post: Post, number: int, *events: tuple[Event, str]) -> Reaper:
    """Let things happen, and deliver for hours after each; the process dies at this moment of it, once."""
    reaper = Reaper(post.world.database, number)
    post.ops.meet = reaper.meet
    for event, subject in events:
        reaper.rest()
        post.begin(event, subject)
        reaper.watch()
        for _ in range(4):
            try:
                post.deliver()
            except ProcessDied:
                post.restart()
            post.world.advance(hours=1)
    reaper.rest()
    return reaper


def list_different(post: Post) -> list[tuple[str, str | None]]:
    """What the receiver took, one line for each id."""
    told = {delivery_id: (item.name, item.phase and item.phase.value) for delivery_id, item in post.ops.sent}
    return list(told.values())


def test_nothing_is_lost_when_the_process_is_killed_at_any_moment_of_a_delivery() -> None:
    """At each read, begin, commit and request: what comes twice has the same id, and is noted once."""
    moments: set[str] = set()
    number = 0
    while True:
        post = Post()
        post.deliver()
        post.ops.events = frozenset({"rotation_completed"})
        post.ops.errors = [DOWN]
        happens = (LAPSED, ACCOUNT), (RotationCompleted(), NAME), (SignInRestored(), ACCOUNT)
        reaper = live_and_die(post, number, *happens)
        expected = [("sign_in_needed", "began"), ("rotation_completed", None), ("sign_in_needed", "over")]
        assert list_different(post) == expected, (number, reaper.met)
        assert len(post.ops.sent) <= 4
        assert post.list_events("notification_delivered") == ["ops"] * 3
        assert len(post.list_events("receiver_failed")) == len(post.list_events("receiver_restored")) <= 1
        if not reaper.has_killed:
            break
        moments.add(reaper.met[-1])
        number += 1
    assert moments == {"read", "begin", "commit", "before", "after"}
    assert number > 50


def test_what_is_never_taken_is_set_aside_once_when_the_process_is_killed_at_any_moment() -> None:
    """The other notification comes all the same."""
    number = 0
    while True:
        post = Post()
        post.deliver()
        post.ops.refuses = lambda item: item.name == "rotation_blocked"
        blocked = RotationBlocked(code="denied", message="no")
        reaper = live_and_die(post, number, (blocked, "pat-1"), (LAPSED, ACCOUNT))
        assert list_different(post) == [("sign_in_needed", "began")], (number, reaper.met)
        assert post.list_events("notification_refused") == ["ops"], (number, reaper.met)
        if not reaper.has_killed:
            break
        number += 1
    assert number > 50


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_lost_when_the_process_dies_while_it_sends(post: Post, when: str) -> None:
    """After the receiver took it, it comes again, with the same id."""

    def die(moment: str) -> None:
        if moment == when:
            post.world.database.die()

    post.ops.meet = die
    post.begin(LAPSED)
    with pytest.raises(ProcessDied):
        post.deliver()
    post.ops.meet = lambda _: None
    post.restart()
    post.world.advance(minutes=10)
    assert post.deliver() == {"delivered": 1}
    assert len(post.ops.sent) == (1 if when == "before" else 2)
    assert len(set(post.ops.ids)) == 1


def test_what_was_sent_and_could_not_be_noted_is_not_sent_again_by_the_same_process(post: Post) -> None:
    """A full disk is no reason to say the same every half minute."""
    post.begin(LAPSED)
    taken = post.world.database.begun
    post.world.database.faults[taken + 2] = CommitFault.DROPPED
    with pytest.raises(DatabaseUnreachableError):
        post.deliver()
    assert len(post.ops.sent) == 1
    post.deliver()
    assert len(post.ops.sent) == 1
    assert post.list_events("notification_delivered") == ["ops"]


def test_lost_database_is_told_directly_and_once() -> None:
    """When it has lasted for long enough, and when it is over; with one id until the receiver took it."""
    ops = ScriptedNotifier(habits=Habits(down_after=timedelta(minutes=10)))
    post = Post(ops)
    post.deliver()
    ops.errors = [DOWN, None]
    for _ in range(60):
        post.world.database.lost_reads = 1
        with pytest.raises(DatabaseUnreachableError):
            post.deliver()
        post.world.advance(minutes=1)
    assert ops.heard == [("database_down", "began")]
    assert ops.tries == 2
    post.deliver()
    post.deliver()
    assert ops.heard == [("database_down", "began"), ("database_down", "over")]
    assert [name for name, _ in post.world.told if name.startswith("database")] == [
        "database_lost",
        "database_restored",
    ]
    assert DatabaseLost.type.begins is ConditionKind.DATABASE_DOWN


def test_nothing_is_sent_after_a_stop(post: Post) -> None:
    """What was taken is noted all the same, and what waits comes from the next process, once."""
    post.begin(LAPSED)
    post.begin(VaultDown(code="read_timeout", message="no answer"), VAULT)
    post.world.advance(hours=1)

    def stop(when: str) -> None:
        if when == "after":
            post.world.stop.set()

    post.ops.meet = stop
    with pytest.raises(StoppedError):
        post.deliver()
    assert len(post.ops.sent) == 1
    assert post.list_events("notification_delivered") == ["ops"]
    post.world.stop = make_stop(post.world.clock)
    post.ops.meet = lambda _: None
    post.restart()
    assert post.deliver() == {"delivered": 1}
    assert len(set(post.ops.ids)) == 2


def test_without_receivers_nothing_is_read_after_the_first_look() -> None:
    """The first one ends what was wrong with receivers that have left the settings."""
    post = Post()
    post.notifiers = ()
    assert post.deliver() == {}
    post.world.database.lost_reads = 1
    assert post.deliver() == {}


def test_receiver_that_failed_by_a_fast_clock_is_tried_again_when_the_clock_is_right(post: Post) -> None:
    """No stored time lets it rest for longer than a failure of now could."""
    post.world.host_clock.ahead = timedelta(days=3650)
    post.begin(LAPSED)
    post.ops.errors = [DOWN]
    assert post.deliver() == {"failed": 1}
    post.world.host_clock.ahead = timedelta(0)
    post.restart()
    assert post.deliver() == {"delivered": 1}
    assert post.ops.heard == [("sign_in_needed", "began")]


@pytest.mark.parametrize("is_database_away", [False, True])
def test_nothing_is_said_to_last_for_days_when_the_clock_was_set_ahead(post: Post, is_database_away: bool) -> None:
    """The services tell at once, whichever job is the first after that, and before anybody was told of it."""

    def deliver_again() -> None:
        post.world.database.lost_reads = int(is_database_away)
        with suppress(DatabaseUnreachableError):
            post.deliver()

    post.begin(LAPSED)
    deliver_again()
    post.world.advance(minutes=31)
    deliver_again()
    told = list(post.ops.heard)
    assert len(told) == 1
    post.world.host_clock.ahead = timedelta(days=3)
    deliver_again()
    assert post.ops.heard == told
    post.world.host_clock.ahead = timedelta(0)
    post.world.advance(hours=25)
    deliver_again()
    assert post.ops.heard == [*told, (told[0][0], "lasts")]


def test_receiver_of_the_settings_is_not_forgotten_however_long_it_is_down(post: Post) -> None:
    """Nor is a hook. What waits is delivered, and it is told that it works again; others are forgotten with time."""
    hook = ScriptedHook(events=("rotation_completed",))
    post.world.policy = replace(post.world.policy, hooks=(hook.terms,))
    with post.world.database.begin() as work:
        for name in (hook.terms.name, "gone"):
            work.outbox.save_receiver(Receiver(name, 0, post.world.clock.now()))
    post.begin(SignInEndForeseen(days=21, ends_at=post.world.clock.now()))
    post.ops.errors.extend([DOWN] * 24 * 40)
    for _ in range(24 * 32):
        post.world.advance(hours=1)
        post.deliver()
    with post.world.database.read() as reading:
        assert {found.name for found in reading.outbox.load_receivers()} == {"ops", hook.terms.name}
    assert post.list_events("receiver_failed") == ["ops"]
    post.ops.errors = []
    for _ in range(2):
        post.world.advance(hours=1)
        post.deliver()
    assert post.ops.heard == [("sign_in_end_foreseen", None)]
    assert post.list_kinds() == set()


@pytest.mark.parametrize("restarts", [False, True])
def test_failure_of_the_last_receiver_ends_when_it_leaves_the_settings(post: Post, restarts: bool) -> None:
    """By a reload or a restart."""
    post.begin(LAPSED)
    post.ops.errors = [DOWN]
    post.deliver()
    assert ConditionKind.RECEIVER_FAILING in post.list_kinds()
    post.notifiers = ()
    if restarts:
        post.restart()
    else:
        post.memory.forget_settings()
    assert post.deliver() == {}
    assert post.list_kinds() == {ConditionKind.SIGN_IN_NEEDED}
    assert post.list_events("receiver_dropped") == ["ops"]


def test_notification_is_not_set_aside_because_the_clock_was_fast_when_the_last_one_was_taken(post: Post) -> None:
    """A receiver that is away for some minutes has taken no others since; before and after that time has come."""
    for hours in (0, 3):
        post.world.host_clock.ahead = timedelta(hours=3)
        post.begin(LAPSED, f"bot-{hours}")
        post.deliver()
        post.world.host_clock.ahead = timedelta(0)
        post.world.advance(hours=hours, minutes=-10 if hours else 5)
        post.begin(SignInEndForeseen(days=7, ends_at=post.world.clock.now()), "release-bot")
        post.ops.errors = [DOWN, DOWN, DOWN]
        for _ in range(30):
            post.world.advance(minutes=2)
            post.deliver()
    assert post.ops.heard.count(("sign_in_end_foreseen", None)) == 2
    assert post.list_events("notification_refused") == []


def test_subject_that_ended_is_told_when_it_begins_again_while_its_cause_lasts(post: Post) -> None:
    """What the receiver knows of is written down without a message."""
    blocked = RotationBlocked(code="foreign_write", message="m")
    post.begin(blocked, "pat-1")
    post.begin(blocked, "pat-2")
    post.deliver()
    for event in (PatResumed(), blocked):
        post.begin(event, "pat-2")
        post.deliver()
    assert len(post.ops.sent) == 1
    post.world.advance(minutes=11)
    post.deliver()
    assert [(told.phase, told.subjects) for _, told in post.ops.sent[1:]] == [(Phase.JOINED, ("pat-1", "pat-2"))]


def test_renamed_pat_is_not_told_as_one_more(post: Post) -> None:
    """Its end is told under the new name. An account of the old name keeps its own."""
    post.begin(RotationBlocked(code="foreign_write", message="m"), NAME)
    post.begin(LAPSED, NAME)
    post.deliver()
    post.world.advance(hours=1)
    rename(post.world.make_run(), NAME, "npm-publish")
    assert post.deliver() == {}
    for event, subject in ((PatResumed(), "npm-publish"), (SignInRestored(), NAME)):
        post.begin(event, subject)
        post.deliver()
    ends = [(told.name, told.subjects) for _, told in post.ops.sent[2:]]
    assert ends == [("rotation_blocked", ("npm-publish",)), ("sign_in_needed", (NAME,))]
