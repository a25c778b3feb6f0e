"""Deliver notifications: each is noted with its id before it is sent, and again when the receiver took it.

So none is lost to a kill, and a receiver that gets one twice sees the same id. One process delivers to a receiver at a
time. What a delivery itself comes to is in the audit log, and nobody is notified of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.backoff import make_backoff
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
from rotator.domain.job_run import KEPT_FOR
from rotator.domain.managed_pat import Failure
from rotator.domain.notification import Notification, make_event_notification, make_notification
from rotator.domain.runbook import EVENTS as ADVISED
from rotator.domain.telling import Notice, Told, find_forgotten, find_notices
from rotator.engine.affected import find_affected
from rotator.engine.auditing import find_lasting, record
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.outage import DeliveryMemory, note_database, note_outage
from rotator.errors import AuditChainError, DatabaseError, DeliveryError, RotatorError
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.notifier import UNUSABLE, Notifier

CLAIMED_FOR = timedelta(minutes=5)
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)
MOST_TRIES = 3
"""After so many failed tries a notification is set aside, if the receiver takes others or refuses it as it is."""
MOST_AT_ONCE = 50
MOVE_CURSOR_AFTER = timedelta(hours=1)
"""A cursor that nothing was delivered for is moved on after that time."""

TELLABLE = frozenset(event.type.name for event in EVENTS if event.type.subject is not SubjectKind.RECEIVER)
"""The events that a receiver may ask for: all but those of deliveries."""
FOR_PERSONS = frozenset(event.type.name for event in ADVISED) & TELLABLE
"""The events that every receiver is told of: a person must act, and no condition tells of it."""


def deliver(run: RunContext, notifiers: Sequence[Notifier], memory: DeliveryMemory) -> JobResult:
    """Deliver what there is to deliver. With the database away, tell that directly; then the error is raised."""
    if not notifiers:
        return JobResult()
    counts: Counter[str] = Counter()
    try:
        for notifier in notifiers:
            counts += _Round(run, notifier, memory).deliver()
        _drop(run, {notifier.name for notifier in notifiers})
    except DatabaseError as error:
        note_outage(run, notifiers, memory, error)
        raise
    note_database(run, notifiers, memory)
    return JobResult(dict(counts))


def _drop(run: RunContext, names: set[str]) -> None:
    """End what is wrong with receivers that are no longer in the settings, and forget those of long ago."""
    with run.services.database.read() as reading:
        before = run.services.clock.now() - KEPT_FOR
        gone = find_lasting(reading, ConditionKind.RECEIVER_FAILING) - names
        has_old = any(found.cursor_at < before for found in reading.outbox.load_receivers())
    if gone or has_old:
        with run.services.database.begin() as work:
            work.outbox.forget_receivers(before)
            for name in sorted(gone):
                record(work, run, name, ReceiverDropped(), run.services.clock.now())


_Change = Callable[[UnitOfWork, Receiver], list[Event]]
"""Writes what came of a delivery, and returns the events that tell of it."""


@dataclass(frozen=True)
class _State:
    """What is stored about one receiver, and what lasts that it may be told of."""

    deliveries: tuple[Delivery, ...]
    lasting: tuple[Condition, ...]

    @property
    def told(self) -> list[Told]:
        return [told for item in self.deliveries if (told := item.find_told()) is not None]

    @property
    def waiting(self) -> list[Delivery]:
        return [item for item in self.deliveries if item.is_waiting]


class _Round:
    """Delivers to one receiver until nothing waits, or until it fails."""

    def __init__(self, run: RunContext, notifier: Notifier, memory: DeliveryMemory) -> None:
        self._run, self._notifier, self._memory = run, notifier, memory
        self._name, self._database = notifier.name, run.services.database
        self._events = FOR_PERSONS | (notifier.events & TELLABLE)

    def deliver(self) -> Counter[str]:
        """Do it, and count what came of it."""
        counts: Counter[str] = Counter()
        if not self._has_work():
            return counts
        try:
            self._check()
            while counts.total() < MOST_AT_ONCE and (item := self._take()) is not None:
                outcome = self._deliver(item)
                counts[outcome] += 1
                if outcome == "failed":
                    break
        finally:
            self._release()
        return counts

    def _has_work(self) -> bool:
        """Whether there is anything to write or to send: a look that writes nothing."""
        now = self._run.services.clock.now()
        if self._name not in self._memory.checked:
            return True
        with self._database.read() as reading:
            receiver = next((found for found in reading.outbox.load_receivers() if found.name == self._name), None)
            if receiver is None:
                return True
            state = self._load(reading)
            if receiver.retry_at is not None and receiver.retry_at > now:
                return False
            changes = (
                state.waiting,
                find_notices(state.told, state.lasting, self._notifier.habits, now),
                find_forgotten(state.told, state.lasting, self._notifier.habits, now),
            )
            return any(changes) or self._finds_event(reading, receiver) or self._lags(reading, receiver, now)

    def _check(self) -> None:
        """Look, once in a process, whether the receiver can be used at all."""
        if self._name in self._memory.checked:
            return
        now = self._run.services.clock.now()
        with self._database.begin() as work:
            self._claim(work, now)
        found: RotatorError | None = None
        try:
            with naming_bugs("the other receivers are told"):
                self._notifier.check()
        except RotatorError as error:
            found = error

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            was_unusable = receiver.failure is not None and receiver.failure.code == UNUSABLE
            if found is not None:
                return self._fail(work, receiver, found, now)
            if not was_unusable:
                return []
            work.outbox.save_receiver(replace(receiver, failures=0, retry_at=None, failure=None))
            return [ReceiverRestored()]

        self._note(change, now)
        self._memory.checked.add(self._name)

    def _fail(self, work: UnitOfWork, receiver: Receiver, error: RotatorError, now: datetime) -> list[Event]:
        """Note that a receiver failed; it rests for a while."""
        failures = receiver.failures + 1
        pause = make_backoff(failures, first=FIRST_RETRY, longest=LONGEST_RETRY)
        work.outbox.save_receiver(replace(receiver, failures=failures, retry_at=now + pause, failure=Failure.of(error)))
        return [] if receiver.failure is not None else [ReceiverFailed(code=error.code, message=error.message)]

    def _finds_event(self, reading: Reading, receiver: Receiver) -> bool:
        try:
            return bool(reading.audit.load_named(self._events, receiver.cursor, 1))
        except AuditChainError:
            return True

    def _lags(self, reading: Reading, receiver: Receiver, now: datetime) -> bool:
        """Whether a cursor is to be moved although nothing was delivered, or is beyond the log's end."""
        newest = reading.audit.load_newest_number()
        return newest < receiver.cursor or (newest > receiver.cursor and now - receiver.cursor_at >= MOVE_CURSOR_AFTER)

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
                receiver = self._claim(work, now)
                if receiver is None:
                    return None
                state = self._load(work)
                for cause in find_forgotten(state.told, state.lasting, habits, now):
                    work.outbox.forget_delivery(self._name, make_topic(cause))
                notices = find_notices(state.told, state.lasting, habits, now)
                made = [self._make_delivery(work, notice, now) for notice in notices]
                if not any(item.topic == EVENT for item in state.waiting):
                    made += self._take_event(work, receiver, now)
                for item in made:
                    work.outbox.save_delivery(item)
                return min((*state.waiting, *made), key=lambda item: (item.tries, item.made_at), default=None)
        except AuditChainError as error:
            return self._skip(error)

    def _claim(self, work: UnitOfWork, now: datetime) -> Receiver | None:
        """Return the receiver, under a claim; None while another process delivers to it, or while it rests.

        A new receiver starts at the head of the log.
        """
        newest = work.audit.load_newest_number()
        known = {found.name: found for found in work.outbox.load_receivers()}
        if self._name not in known:
            work.outbox.save_receiver(Receiver(self._name, newest, now))
        receiver = work.outbox.claim(self._name, self._run.claimant, CLAIMED_FOR)
        if receiver is None or (receiver.retry_at is not None and receiver.retry_at > now):
            return None
        if newest < receiver.cursor:  # the log is an older one: the database was restored
            receiver = replace(receiver, cursor=newest, cursor_at=now)
            work.outbox.save_receiver(receiver)
        return receiver

    def _take_event(self, work: UnitOfWork, receiver: Receiver, now: datetime) -> list[Delivery]:
        """Return the delivery of the next event, if there is one. Otherwise the cursor moves on, now and then."""
        for event in work.audit.load_named(self._events, receiver.cursor, 1):
            made = _make_event_notification(event)
            return [self._make(EVENT, made, now, sequence=event.sequence)]
        if self._lags(work, receiver, now):
            newest = work.audit.load_newest_number()
            work.outbox.save_receiver(replace(receiver, cursor=newest, cursor_at=now))
        return []

    def _make_delivery(self, reading: Reading, notice: Notice, now: datetime) -> Delivery:
        made = make_notification(notice, find_affected(reading, notice), now)
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

    def _skip(self, error: AuditChainError) -> Delivery | None:
        """Set an event aside that cannot be read, and go on with the next."""
        now = self._run.services.clock.now()
        moved = False

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            nonlocal moved
            moved = receiver.cursor < error.sequence
            if not moved:
                return []
            work.outbox.save_receiver(replace(receiver, cursor=error.sequence, cursor_at=now))
            about = f"event {error.sequence} of the audit log"
            return [NotificationRefused(about=about, code=error.code, message=error.message)]

        self._note(change, now)
        return self._take() if moved else None

    def _deliver(self, item: Delivery) -> str:
        """Send one, and note what came of it."""
        if item.id not in self._memory.sent:
            self._run.services.stop.check()
            try:
                with naming_bugs("the other receivers are told"):
                    self._notifier.send(item.notification, item.id)
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

        self._note(change, now)

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
        tried = replace(item, tries=item.tries + 1)
        outcome = "failed"

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            nonlocal outcome
            outcome = "failed"
            if _is_hopeless(tried, receiver, error):
                outcome = "set_aside"
                self._settle(work, item, replace(receiver, retry_at=None), replace(tried, set_aside_at=now), now)
                about = item.notification.title
                return [NotificationRefused(about=about, code=error.code, message=error.message, delivery_id=item.id)]
            work.outbox.save_delivery(tried)
            return self._fail(work, receiver, error, now)

        self._note(change, now)
        return outcome

    def _note(self, change: _Change, now: datetime) -> None:
        """Write what came of a delivery, with its events; without them where the log's end cannot be read."""
        try:
            events = self._write(change, now, is_audited=True)
        except AuditChainError:
            events = self._write(change, now, is_audited=False)
        for event in events:
            self._run.progress(event, self._name)

    def _write(self, change: _Change, now: datetime, *, is_audited: bool) -> list[Event]:
        """Write it, after a stop too: what the receiver took is not to be sent again."""
        with self._run.services.closing_database.begin() as work:
            receiver = work.outbox.claim(self._name, self._run.claimant, CLAIMED_FOR)
            if receiver is None:  # another process has taken over, and sends it again with the same id
                return []
            events = change(work, receiver)
            for event in events if is_audited else ():
                record(work, self._run, self._name, event, now)
        return events

    def _release(self) -> None:
        try:
            with self._run.services.closing_database.begin() as work:
                work.outbox.release(self._name, self._run.claimant)
        except DatabaseError:
            return  # it ends by itself


def _is_hopeless(tried: Delivery, receiver: Receiver, error: RotatorError) -> bool:
    """Whether a notification is to be set aside: the receiver refuses it as it is, or has taken others since."""
    is_refused = isinstance(error, DeliveryError) and error.is_refusal
    takes_others = receiver.delivered_at is not None and receiver.delivered_at > tried.made_at
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
    )
