"""Deliver notifications where receivers come and go, are slow, or were down for days, and where clocks are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.rotations import ExpiryForeseen, RotationBlocked, RotationCompleted, RotationFailed
from rotator.domain.job_run import Heartbeat
from rotator.domain.managed_pat import Failure
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification
from rotator.domain.telling import Habits
from rotator.engine.claiming import claimed
from rotator.engine.keeping import rename
from rotator.errors import DatabaseError, DatabaseLockedError, FailureKind
from rotator.ports.notifier import UNUSABLE
from tests.support.engine import ACCOUNT, NAME
from tests.support.engine_fakes import ProcessDied
from tests.support.receivers import ScriptedNotifier
from tests.unit.test_engine_delivering import DOWN, LAPSED, Post

MISSING = DeliveryError("ops needs apprise", code=UNUSABLE, fix="Install it.", kind=FailureKind.UNUSABLE)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("unusable", [None, MISSING])
def test_receiver_that_comes_back_and_still_fails_is_told_again(unusable: DeliveryError | None) -> None:
    """What was told of it ended when it left the settings; metrics call it down again too."""
    ops, other = ScriptedNotifier(), ScriptedNotifier("other", Habits(down_after=timedelta(0)))
    post = Post(ops, other)
    ops.unusable, ops.errors = unusable, [DOWN] * 100
    post.begin(LAPSED)
    for notifiers in ((ops, other), (other,), (ops, other)):
        post.notifiers = notifiers
        post.memory.forget_settings()
        for _ in range(3):
            post.deliver()
            post.world.advance(hours=5)
    heard = [phase for name, phase in other.heard if name == "receiver_failing"]
    assert heard == ["began", "over", "began"]
    assert ConditionKind.RECEIVER_FAILING in post.list_kinds()
    assert [found.name for found in post.measure() if not found.is_up] == ["ops"]
    assert len(post.list_events("receiver_failed")) == 2


def test_slow_receiver_holds_up_the_others_for_a_minute_and_hears_all() -> None:
    """It takes each one after 50 seconds; what waits for it is sent by the next rounds."""
    slow, quick = ScriptedNotifier("slow", events=frozenset({"rotation_completed"})), ScriptedNotifier("quick")
    post = Post(slow, quick)
    post.deliver()
    began = post.world.clock.now()
    slow.meet = lambda when: post.world.advance(seconds=50) if when == "before" else None
    heard_at = []
    quick.meet = lambda _: heard_at.append(post.world.clock.now() - began)
    post.begin(LAPSED)
    for _ in range(10):
        post.begin(RotationCompleted(), NAME)
    post.deliver()
    assert heard_at[0] < timedelta(minutes=2)
    for _ in range(10):
        post.deliver()
    assert len(slow.sent) == 11


def test_what_waited_says_when_its_words_were_true(post: Post) -> None:
    """`expires in 5 days` is said three days later; with the id that it had."""
    post.ops.errors = [DOWN] * 80
    post.begin(LAPSED)
    made_at = post.world.clock.now()
    while not post.ops.sent:
        post.deliver()
        post.world.advance(hours=1)
    title = post.ops.sent[0][1].title
    assert title.endswith(f"it expires in 5 days (as of {made_at:%Y-%m-%d %H:%MZ})")


def lose_answers(post: Post, notifier: ScriptedNotifier) -> list[tuple[str, str]]:
    """Have a receiver take what it is sent, and its answer get lost while `errors` has any; return what it took."""
    taken: list[tuple[str, str]] = []
    send = notifier.send

    def take(notification: Notification, delivery_id: str) -> str:
        taken.append((delivery_id, str(notification.phase)))
        return send(notification, delivery_id)

    notifier.send = take  # type: ignore[method-assign]
    return taken


def test_next_outage_of_the_database_is_told_with_another_id() -> None:
    """A receiver that took the first, and whose answer was lost, ignores an id that it has seen."""
    ops = ScriptedNotifier(habits=Habits(down_after=timedelta(0)))
    post = Post(ops)
    post.deliver()
    taken = lose_answers(post, ops)
    ops.errors = [DOWN, DOWN]
    for _ in range(2):
        post.world.database.lost_reads = 2
        for _ in range(2):
            with pytest.raises(DatabaseError):
                post.deliver()
        post.deliver()
        post.world.advance(days=3)
    assert [phase for _, phase in taken] == ["began", "began", "began", "over"]
    first, again, second, over = (delivery_id for delivery_id, _ in taken)
    assert first == again
    assert len({first, second, over}) == 3
    assert post.memory.ids == {}


def test_claim_of_a_clock_that_was_fast_binds_nobody() -> None:
    """Who had it is gone, and nobody can know that: on another host, or in a container that was replaced."""
    post = Post()
    post.deliver()
    post.world.advance(days=400)
    post.ops.meet = lambda _: post.world.database.die()
    post.begin(LAPSED)
    with pytest.raises(ProcessDied):
        post.deliver()
    post.world.advance(days=-400)
    post.restart()
    post.ops.meet = lambda _: None
    assert post.deliver() == {"delivered": 1}


@contextmanager
def read_only(post: Post) -> Iterator[None]:
    """A database that can be read and not written, as on a full disk."""
    database = post.world.database
    begin = database.begin

    @contextmanager
    def refuse() -> Iterator[None]:
        raise DatabaseLockedError("the disk is full")
        yield

    database.begin = refuse  # type: ignore[assignment, method-assign]
    yield
    database.begin = begin  # type: ignore[method-assign]


def test_database_that_can_only_be_read_is_told_although_nothing_is_to_be_delivered() -> None:
    """No heartbeat can be written: that is what shows it."""
    ops = ScriptedNotifier(habits=Habits(down_after=timedelta(minutes=10)))
    post = Post(ops)
    post.deliver()
    now = post.world.clock.now()
    with post.world.database.begin() as work:
        work.job_runs.beat(Heartbeat("daemon", now, now))
    assert post.deliver() == {}
    with read_only(post):
        for _ in range(30):
            post.world.advance(minutes=1)
            try:
                post.deliver()
            except DatabaseError:
                continue
    assert ops.heard == [("database_down", "began")]
    post.deliver()
    assert ops.heard[1:] == [("database_down", "over")]


@pytest.mark.parametrize(
    "event", [RotationBlocked(code="blocked", message=""), ExpiryForeseen(code="paused", expires_at=NEVER)]
)
def test_another_failure_of_the_record_is_not_given_as_the_reason(post: Post, event: Event) -> None:
    """The policy forbids it now; that Azure DevOps wanted fewer requests before passes, and this does not."""
    passing = Failure("throttled", "Azure DevOps asks for fewer requests.", "This passes by itself.")
    _fail(post, passing)
    post.begin(event, NAME)
    post.deliver()
    told = post.ops.sent[0][1]
    assert passing.message not in told.text
    assert passing.fix not in (told.fix, told.text)


def test_why_a_pat_expires_is_in_the_notification_itself(post: Post) -> None:
    """Its fix is that of the failure that keeps it from being rotated."""
    failure = Failure("foreign_write", "Somebody else wrote the secret.", f"Run `rotator rotate {NAME}`.")
    _fail(post, failure)
    post.begin(ExpiryForeseen(code="foreign_write", expires_at=NEVER), NAME)
    post.deliver()
    told = post.ops.sent[0][1]
    assert (told.fix, f"Why: {failure.message}" in told.text) == (failure.fix, True)


def _fail(post: Post, failure: Failure, name: str = NAME) -> None:
    with claimed(post.world.make_run(), name) as held:
        held.save(replace(held.pat, last_failure=failure))


@pytest.fixture
def post() -> Post:
    """One receiver, known for a while."""
    made = Post()
    made.deliver()
    assert made.world.record().account == ACCOUNT
    return made


def test_what_waits_while_a_pat_is_renamed_can_be_acted_on(post: Post) -> None:
    """Its title is that of then; its command has the name of now."""
    post.ops.errors = [DOWN]
    post.begin(RotationBlocked(code="foreign_write", message="x"), NAME)
    post.deliver()
    rename(post.world.make_run(), NAME, "feed")
    post.world.advance(minutes=1)
    post.deliver()
    told = post.ops.sent[0][1]
    assert (told.subjects, told.command) == (("feed",), "rotator status feed")
    assert f"rotator status {NAME}" not in told.text
    assert told.text.endswith(f"{NAME} is called feed now.")


def test_receiver_that_takes_others_works_again_when_one_is_set_aside(post: Post) -> None:
    """It may be weeks until it is sent anything else."""
    post.ops.refuses = lambda item: item.name == "rotation_blocked"
    post.begin(RotationBlocked(code="denied", message="no"), "pat-1")
    post.begin(LAPSED)
    for _ in range(6):
        post.deliver()
        post.world.advance(hours=1)
    assert post.list_events("notification_refused") == ["ops"]
    assert ConditionKind.RECEIVER_FAILING not in post.list_kinds()
    assert len(post.list_events("receiver_failed")) == len(post.list_events("receiver_restored")) == 2
    assert [found.is_up for found in post.measure()] == [True]


def test_pats_that_fail_for_different_reasons_are_not_told_the_reason_of_one(post: Post) -> None:
    """Which reason each has, the command says; with one reason it is told."""
    post.ops.habits = Habits(down_after=timedelta(0), repeat=timedelta(hours=1))
    post.world.add_managed("other")
    for name, code in ((NAME, "throttled"), ("other", "server_error")):
        _fail(post, Failure(code, f"It is {code}.", "Wait."), name)
        post.begin(RotationFailed(code=code, message=""), name)
    post.deliver()
    told = post.ops.sent[-1][1]
    assert told.title.startswith("2 PATs could not be rotated; ")
    assert (told.code, "Why:" in told.text) == (None, False)
