"""The port Outbox, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.logs import make_progress
from rotator.domain.condition import ConditionKind
from rotator.domain.delivery import Delivery, Receiver
from rotator.domain.digest import Dated, Digest, Mail, MailAbout, Wait
from rotator.domain.events.event import Severity
from rotator.domain.events.rotations import PatVerified, RotationCompleted
from rotator.domain.hook import HookCall, HookEvent
from rotator.domain.managed_pat import Failure
from rotator.domain.notification import Notification, NotificationKind, make_digest_notification
from rotator.domain.telling import Cause, Phase, Told
from rotator.engine.auditing import Author, record
from rotator.errors import FailureKind
from rotator.ports.database import Database
from tests.support.records import DAY, NOW

SPAN = timedelta(minutes=5)
BROKEN = Failure("x", "y", "z", FailureKind.UNUSABLE)
OPS = Receiver("ops", 7, NOW)
TOLD = Notification(
    NotificationKind.CONDITION,
    "rotation_blocked",
    Severity.ERROR,
    "2 PATs cannot be rotated",
    "All\nabout it",
    NOW,
    phase=Phase.JOINED,
    subjects=("npm-feed", "ci-build"),
    code="denied",
    since=NOW - DAY,
    waiting=2,
    first_expires_at=NOW + DAY,
    command="rotator status npm-feed",
    fix="Ask.",
    runbook="docs/runbook.md#rotation_blocked",
)
DELIVERY = Delivery("ops", "rotation_blocked/denied", "0123", TOLD, NOW, messages=3, repeats=1)
CALL = HookCall(
    "restart",
    7,
    "0123",
    HookEvent(
        event="secret_stored",
        severity=Severity.INFO,
        subject="npm-feed",
        occurred_at=NOW,
        sequence=7,
        name="npm-feed",
        expires_at=NOW + DAY,
        details={"secret_version": "0a1b", "count": 2, "kept": True, "none": None},
    ),
    NOW,
)


def test_receivers_and_deliveries_are_given_back_as_they_were_saved(database: Database) -> None:
    failing = replace(OPS, failures=2, retry_at=NOW + DAY, delivered_at=NOW, failure=BROKEN)
    event = Delivery("ops", "event", "4567", replace(TOLD, phase=None, since=None), NOW + DAY, sequence=9, tries=2)
    with database.begin() as work:
        assert (work.outbox.load_receivers(), work.outbox.load_deliveries("ops")) == ((), ())
        for receiver in (failing, replace(OPS, name="backup")):
            work.outbox.save_receiver(receiver)
        for delivery in (event, DELIVERY, replace(DELIVERY, receiver="backup")):
            work.outbox.save_delivery(delivery)
    with database.read() as reading:
        assert reading.outbox.load_receivers() == (replace(OPS, name="backup"), failing)
        assert reading.outbox.load_deliveries("ops") == (DELIVERY, event)


def test_digest_is_given_back_as_it_was_saved(database: Database) -> None:
    """An empty one too."""
    empty = Digest(NOW - DAY, NOW + DAY, (), (), (), (), is_whole=False)
    whole = Digest(
        NOW - DAY,
        NOW + DAY,
        (Dated("npm-feed", NOW),),
        (Dated("ci-build", NOW + DAY),),
        (Wait("Sign in.", ("a", "b"), NOW + DAY),),
        (Mail("build-bot", "a", MailAbout.EXPIRY, NOW),),
        through=12,
    )
    for digest in (empty, whole):
        delivery = Delivery("ops", "digest", "4567", make_digest_notification(digest, NOW), NOW)
        with database.begin() as work:
            work.outbox.save_receiver(OPS)
            work.outbox.save_delivery(delivery)
        with database.read() as reading:
            assert reading.outbox.load_deliveries("ops") == (delivery,)


def test_delivery_takes_the_place_of_the_one_about_the_same_topic(database: Database) -> None:
    later = replace(DELIVERY, id="89ab", made_at=NOW + DAY, delivered_at=NOW + DAY)
    with database.begin() as work:
        work.outbox.save_receiver(OPS)
        work.outbox.save_delivery(DELIVERY)
    with database.begin() as work:
        work.outbox.save_delivery(later)
        work.outbox.save_receiver(replace(OPS, cursor=8))
    with database.read() as reading:
        assert reading.outbox.load_deliveries("ops") == (later,)
        assert reading.outbox.load_receivers() == (replace(OPS, cursor=8),)
        assert later.find_told() == Told(
            Cause(ConditionKind.ROTATION_BLOCKED, "denied"),
            Phase.JOINED,
            frozenset({"npm-feed", "ci-build"}),
            NOW + DAY,
            3,
            1,
        )
    with database.begin() as work:
        work.outbox.forget_delivery("ops", later.topic)
        work.outbox.forget_delivery("ops", "no such topic")
    with database.read() as reading:
        assert reading.outbox.load_deliveries("ops") == ()


def test_one_holder_delivers_until_it_gives_that_back_or_its_time_is_over(database: Database) -> None:
    with database.begin() as work:
        work.outbox.save_receiver(OPS)
        assert work.outbox.claim("ops", "run-1", SPAN) == OPS
    with database.begin() as work:
        assert work.outbox.claim("ops", "run-2", SPAN) is None
        work.outbox.release("ops", "run-2")
        work.outbox.save_receiver(replace(OPS, cursor=8))
    with database.begin() as work:
        assert work.outbox.claim("ops", "run-2", SPAN) is None
        assert work.outbox.claim("ops", "run-1", timedelta(0)) == replace(OPS, cursor=8)
    with database.begin() as work:
        assert work.outbox.claim("ops", "run-2", SPAN) is not None
        work.outbox.release("ops", "run-2")
        assert work.outbox.claim("ops", "run-1", SPAN) is not None


def test_receiver_that_is_not_known_cannot_be_claimed(database: Database) -> None:
    with pytest.raises(ValueError, match="ops"), database.begin() as work:
        work.outbox.claim("ops", "run-1", SPAN)


def test_one_of_eight_threads_gets_the_claim(database: Database) -> None:
    with database.begin() as work:
        work.outbox.save_receiver(OPS)

    def claim(number: int) -> bool:
        with database.begin() as work:
            return work.outbox.claim("ops", f"run-{number}", SPAN) is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1


def test_calls_of_hooks_are_given_back_as_they_were_saved(database: Database) -> None:
    """In the order of their events; one about the same event takes the place of the other."""
    tried = replace(CALL, tries=2, retry_at=NOW + DAY, failure=BROKEN, set_aside_at=NOW)
    bare = HookCall("restart", 3, "4567", HookEvent("policy_changed", Severity.INFO, "policy", NOW), NOW)
    with database.begin() as work:
        for call in (CALL, bare, replace(CALL, hook="other"), tried):
            work.outbox.save_call(call)
    with database.read() as reading:
        assert reading.outbox.load_calls("restart") == (bare, tried)
        assert reading.outbox.load_calls("other") == (replace(CALL, hook="other"),)
    with database.begin() as work:
        work.outbox.forget_call("restart", 7)
        work.outbox.forget_call("restart", 8)
    with database.read() as reading:
        assert reading.outbox.load_calls("restart") == (bare,)


def test_receivers_are_forgotten_with_what_waits_for_them(database: Database) -> None:
    with database.begin() as work:
        work.outbox.save_receiver(OPS)
        work.outbox.save_receiver(replace(OPS, name="new", cursor_at=NOW + DAY))
        work.outbox.save_delivery(DELIVERY)
        work.outbox.save_delivery(replace(DELIVERY, receiver="new"))
        for name in ("ops", "new"):
            work.outbox.save_call(replace(CALL, hook=name))
    with database.begin() as work:
        work.outbox.forget_receivers({"ops", "unknown"})
    with database.read() as reading:
        assert [found.name for found in reading.outbox.load_receivers()] == ["new"]
        assert (reading.outbox.load_deliveries("ops"), len(reading.outbox.load_deliveries("new"))) == ((), 1)
        assert (reading.outbox.load_calls("ops"), len(reading.outbox.load_calls("new"))) == ((), 1)


def test_events_are_found_by_their_names_in_order(database: Database) -> None:
    author = Author("root@host", "run-1", make_progress())
    with database.begin() as work:
        for number in range(6):
            event = RotationCompleted() if number % 2 else PatVerified()
            record(work, author, f"pat-{number}", event, NOW)
    with database.read() as reading:
        found = reading.audit.load_named({"rotation_completed"}, 2, 10)
        assert [(event.sequence, event.entry.subject) for event in found] == [(4, "pat-3"), (6, "pat-5")]
        assert len(reading.audit.load_named({"rotation_completed", "pat_verified"}, 0, 4)) == 4
        assert reading.audit.load_named({"pat_minted"}, 0, 4) == ()
