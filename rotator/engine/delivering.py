"""Deliver notifications: each is noted with its id before it is sent, and again when the receiver took it.

So none is lost to a kill, and a receiver that gets one twice sees the same id. One process delivers to a receiver at a
time. What a delivery itself comes to is in the audit log, and nobody is notified of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.delivery import EVENT, Delivery, Receiver, make_topic
from rotator.domain.events.catalogue import CATALOGUE, EVENTS
from rotator.domain.events.deliveries import (
    NotificationDelivered,
    NotificationRefused,
    ReceiverDropped,
    ReceiverFailed,
    ReceiverRestored,
)
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.job_run import KEPT_FOR, lives
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification, make_event_notification, make_notification
from rotator.domain.runbook_events import EVENTS as ADVISED
from rotator.domain.telling import Notice, Told, find_ended, find_forgotten, find_notices
from rotator.engine.affected import find_affected
from rotator.engine.auditing import find_lasting, record
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.moments import is_clock_wrong
from rotator.engine.outage import DeliveryMemory, note_database, note_outage
from rotator.engine.receiver_claim import ReceiverClaim, Wording, lags, rests
from rotator.errors import AuditChainError, DatabaseError, RotatorError
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.notifier import Notifier

MOST_TRIES = 3
"""After so many failed tries a notification is set aside, if the receiver takes others or refuses it as it is."""
MOST_AT_ONCE = 50
LONGEST_ROUND = timedelta(minutes=1)
"""Nothing further is sent to a receiver after that time: what waits is sent next time, after the others were told."""

TELLABLE = frozenset(event.type.name for event in EVENTS if event.type.subject is not SubjectKind.RECEIVER)
"""The events that a receiver may ask for: all but those of deliveries."""
FOR_PERSONS = frozenset(event.type.name for event in ADVISED) & TELLABLE
"""The events that every receiver is told of: a person must act, and no condition tells of it."""
WORDING = Wording(
    failed=lambda error: ReceiverFailed(code=error.code, message=error.message),
    restored=ReceiverRestored,
    set_aside=lambda about, error: NotificationRefused(about=about, code=error.code, message=error.message),
)


def deliver(run: RunContext, notifiers: Sequence[Notifier], memory: DeliveryMemory) -> JobResult:
    """Deliver what there is to deliver. With the database away, tell that directly; then the error is raised.

    Without receivers there is one look: what was wrong with one that is no longer in the settings ends.
    """
    if not notifiers and memory.is_swept:
        return JobResult()
    counts: Counter[str] = Counter()
    try:
        for notifier in notifiers:
            counts += _Round(run, notifier, memory).deliver()
        _drop(run, {notifier.name for notifier in notifiers})
        memory.is_swept = True
    except DatabaseError as error:
        note_outage(run, notifiers, memory, error)
        raise
    note_database(run, notifiers, memory)
    return JobResult(dict(counts))


def _drop(run: RunContext, names: set[str]) -> None:
    """End what is wrong with receivers that are no longer in the settings, and forget those of long ago."""
    with run.services.database.read() as reading:
        before = run.services.clock.now() - KEPT_FOR
        kept = names | {hook.name for hook in run.policy.hooks}
        gone = find_lasting(reading, ConditionKind.RECEIVER_FAILING) - names
        receivers = reading.outbox.load_receivers()
        old = {found.name for found in receivers if found.name not in kept and found.cursor_at < before}
    if gone or old:
        with run.services.database.begin() as work:
            work.outbox.forget_receivers(old)
            for name in sorted(gone):
                record(work, run, name, ReceiverDropped(), run.services.clock.now())


@dataclass(frozen=True)
class _State:
    """What is stored about one receiver, and what lasts that it may be told of."""

    deliveries: tuple[Delivery, ...]
    lasting: tuple[Condition, ...]

    @property
    def told(self) -> list[Told]:
        return [told for item in self.deliveries if (told := item.find_told()) is not None]

    def find_known(self, told: Told) -> Delivery:
        """Return the last delivery about a cause, with the subjects alone that the receiver still knows of."""
        last = next(item for item in self.deliveries if item.topic == make_topic(told.cause))
        return replace(last, notification=replace(last.notification, subjects=tuple(sorted(told.subjects))))

    @property
    def waiting(self) -> list[Delivery]:
        return [item for item in self.deliveries if item.is_waiting]


class _Round:
    """Delivers to one receiver until nothing waits, or until it fails."""

    def __init__(self, run: RunContext, notifier: Notifier, memory: DeliveryMemory) -> None:
        self._run, self._notifier, self._memory = run, notifier, memory
        self._name, self._database = notifier.name, run.services.database
        self._claim = ReceiverClaim(run, notifier.name, memory.checked, WORDING)
        self._events = FOR_PERSONS | (notifier.events & TELLABLE)

    def deliver(self) -> Counter[str]:
        """Do it, and count what came of it."""
        counts: Counter[str] = Counter()
        if not self._has_work():
            return counts
        boot = self._run.services.boot
        began = boot.read_boot().elapsed
        try:
            self._claim.check(self._notifier.check)
            while counts.total() < MOST_AT_ONCE and boot.read_boot().elapsed - began < LONGEST_ROUND:
                if (item := self._take()) is None:
                    break
                outcome = self._deliver(item)
                counts[outcome] += 1
                if outcome == "failed":
                    break
        finally:
            self._claim.release()
        return counts

    def _has_work(self) -> bool:
        """Whether there is anything to write or to send: a look that writes nothing."""
        now = self._run.services.clock.now()
        if not self._claim.is_checked:
            return True
        with self._database.read() as reading:
            receiver = next((found for found in reading.outbox.load_receivers() if found.name == self._name), None)
            if receiver is None:
                return True
            state = self._load(reading)
            if rests(receiver, now):
                return False
            changes = (
                state.waiting,
                self._find_notices(reading, state, now),
                find_ended(state.told, state.lasting),
                find_forgotten(state.told, state.lasting, self._notifier.habits, now),
            )
            is_moved = self._finds_event(reading, receiver) or lags(reading, receiver, now)
            return any(changes) or is_moved or _is_silent(reading, now)

    def _find_notices(self, reading: Reading, state: _State, now: datetime) -> tuple[Notice, ...]:
        is_wrong = is_clock_wrong(self._run, reading.find_clock())
        return find_notices(state.told, state.lasting, self._notifier.habits, now, is_clock_wrong=is_wrong)

    def _finds_event(self, reading: Reading, receiver: Receiver) -> bool:
        try:
            return bool(reading.audit.load_named(self._events, receiver.cursor, 1))
        except AuditChainError:
            return True

    def _load(self, reading: Reading) -> _State:
        """A receiver is not told of its own failure."""
        own = (ConditionKind.RECEIVER_FAILING, self._name)
        lasting = tuple(found for found in reading.conditions.load() if (found.kind, found.subject) != own)
        return _State(reading.outbox.load_deliveries(self._name), lasting)

    def _take(self) -> Delivery | None:
        """Note what is to be told now, and return what is to be sent next; None if there is nothing.

        What was tried least comes first: one that a receiver does not take holds up no other.
        """
        now, habits = self._run.services.clock.now(), self._notifier.habits
        try:
            with self._database.begin() as work:
                receiver = self._claim.take(work, now)
                if receiver is None:
                    return None
                state = self._load(work)
                for cause in find_forgotten(state.told, state.lasting, habits, now):
                    work.outbox.forget_delivery(self._name, make_topic(cause))
                for ended in find_ended(state.told, state.lasting):
                    work.outbox.save_delivery(state.find_known(ended))
                made = [self._make_delivery(work, notice, now) for notice in self._find_notices(work, state, now)]
                if not any(item.topic == EVENT for item in state.waiting):
                    made += self._take_event(work, receiver, now)
                for item in made:
                    work.outbox.save_delivery(item)
                return min((*state.waiting, *made), key=lambda item: (item.tries, item.made_at), default=None)
        except AuditChainError as error:
            return self._take() if self._claim.skip(error) else None

    def _take_event(self, work: UnitOfWork, receiver: Receiver, now: datetime) -> list[Delivery]:
        """Return the delivery of the next event, if there is one. Otherwise the cursor moves on, now and then."""
        for event in work.audit.load_named(self._events, receiver.cursor, 1):
            made = _make_event_notification(event)
            return [self._make(EVENT, made, now, sequence=event.sequence)]
        self._claim.move_on(work, receiver, now)
        return []

    def _make_delivery(self, reading: Reading, notice: Notice, now: datetime) -> Delivery:
        made = make_notification(notice, find_affected(self._run, reading, notice), now)
        return self._make(make_topic(notice.cause), made, now, messages=notice.messages, repeats=notice.repeats)

    def _make(
        self,
        topic: str,
        notification: Notification,
        now: datetime,
        *,
        messages: int = 1,
        repeats: int = 0,
        sequence: int | None = None,
    ) -> Delivery:
        delivery_id = self._run.services.entropy.make_id()
        return Delivery(self._name, topic, delivery_id, notification, now, messages, repeats, sequence)

    def _deliver(self, item: Delivery) -> str:
        """Send one, and note what came of it."""
        if item.id not in self._memory.sent:
            self._run.services.stop.check()
            try:
                with naming_bugs("the other receivers are told"):
                    self._notifier.send(item.notification.as_sent(self._run.services.clock.now()), item.id)
            except DatabaseError:
                raise
            except RotatorError as error:
                return self._note_failure(item, error)
            self._memory.sent.add(item.id)
        self._note_success(item)
        self._memory.sent.discard(item.id)
        return "delivered"

    def _note_success(self, item: Delivery) -> None:
        now = self._run.services.clock.now()

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            was_failing = receiver.failure is not None
            changed = replace(receiver, failures=0, retry_at=None, failure=None, delivered_at=now)
            self._settle(work, item, changed, replace(item, delivered_at=now), now)
            delivered = NotificationDelivered(delivery_id=item.id, about=item.notification.title)
            return [*([ReceiverRestored()] if was_failing else []), delivered]

        self._claim.note(change, now)

    def _settle(self, work: UnitOfWork, item: Delivery, receiver: Receiver, ended: Delivery, now: datetime) -> None:
        """Note that a delivery is over: an event's cursor moves, and its place is free for the next."""
        if item.sequence is None:
            work.outbox.save_delivery(ended)
        else:
            receiver = replace(receiver, cursor=max(receiver.cursor, item.sequence), cursor_at=now)
            work.outbox.forget_delivery(self._name, EVENT)
            if ended.set_aside_at is not None:
                work.outbox.save_delivery(replace(ended, topic=f"{EVENT}/{item.sequence}"))
        work.outbox.save_receiver(receiver)

    def _note_failure(self, item: Delivery, error: RotatorError) -> str:
        now = self._run.services.clock.now()
        tried = replace(item, tries=item.tries + 1, made_at=min(item.made_at, now))
        outcome = "failed"

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            nonlocal outcome
            outcome = "failed"
            if receiver.delivered_at is not None and receiver.delivered_at > now:  # by a clock that was fast
                receiver = replace(receiver, delivered_at=None)
            takes_others = receiver.delivered_at is not None and receiver.delivered_at > tried.made_at
            if _is_hopeless(tried, error, takes_others=takes_others):
                outcome = "set_aside"
                was_failing = receiver.failure is not None
                receiver = replace(receiver, retry_at=None)
                if takes_others:  # it works, but for this one
                    receiver = replace(receiver, failures=0, failure=None)
                self._settle(work, item, receiver, replace(tried, set_aside_at=now), now)
                about = item.notification.title
                refused = NotificationRefused(about=about, code=error.code, message=error.message, delivery_id=item.id)
                return [refused, *([ReceiverRestored()] if was_failing and takes_others else [])]
            work.outbox.save_delivery(tried)
            return self._claim.fail(work, receiver, error, now)

        self._claim.note(change, now)
        return outcome


def _is_silent(reading: Reading, now: datetime) -> bool:
    """Whether the daemons' heartbeats have stopped: a database that can only be read shows itself at the next write."""
    beats = reading.job_runs.load_heartbeats()
    return bool(beats) and not lives(beats, now)


def _is_hopeless(tried: Delivery, error: RotatorError, *, takes_others: bool) -> bool:
    """Whether a notification is to be set aside: the receiver refuses it as it is, or has taken others since."""
    is_refused = isinstance(error, DeliveryError) and error.is_refusal
    return tried.tries >= MOST_TRIES and (is_refused or takes_others)


def _make_event_notification(event: AuditEvent) -> Notification:
    """Put an event of the audit log into words."""
    entry = event.entry
    kind = CATALOGUE[entry.event]
    details = ", ".join(f"{name}: {value}" for name, value in entry.details.items() if value is not None)
    return make_event_notification(
        entry.event,
        kind.type.severity,
        entry.subject,
        " ".join((kind.__doc__ or "").split()),
        details,
        ADVISED.get(kind),
        event.occurred_at,
        name if isinstance(name := entry.details.get("name"), str) else None,
    )
