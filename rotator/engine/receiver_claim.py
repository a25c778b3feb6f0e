"""The right to deliver to one receiver: taken, kept and given back, with what is noted of the receiver under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from rotator.domain.backoff import is_kept_from, make_backoff
from rotator.domain.delivery import Receiver
from rotator.domain.events.event import Event
from rotator.domain.managed_pat import Failure
from rotator.engine.auditing import find_lasting, record
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.errors import AuditChainError, DatabaseError, FailureKind, RotatorError
from rotator.ports.database import Reading, UnitOfWork

CLAIMED_FOR = timedelta(minutes=5)
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)
MOVE_CURSOR_AFTER = timedelta(hours=1)
"""A cursor that nothing was delivered for is moved on after that time."""

Change = Callable[[UnitOfWork, Receiver], list[Event]]
"""Writes what came of a delivery, and returns the events that tell of it."""


@dataclass(frozen=True)
class Wording:
    """The events that tell of a receiver: it failed, it works again, and something was set aside (what, and why)."""

    failed: Callable[[RotatorError], Event]
    restored: Callable[[], Event]
    set_aside: Callable[[str, RotatorError], Event]


class ReceiverClaim:
    """One process's right to deliver to the receiver of that name.

    `checked` are the receivers that this process has looked at since its start.
    """

    def __init__(self, run: RunContext, name: str, checked: set[str], wording: Wording) -> None:
        self._run, self._name, self._checked, self._wording = run, name, checked, wording
        self._clock = run.services.clock

    @property
    def is_checked(self) -> bool:
        """Whether this process has looked whether the receiver can be used."""
        return self._name in self._checked

    def check(self, act: Callable[[], None]) -> None:
        """Look, once in a process, whether the receiver can be used at all: `act` raises if not."""
        if self.is_checked:
            return
        now = self._clock.now()
        with self._run.services.database.begin() as work:
            self.take(work, now)
        found: RotatorError | None = None
        try:
            with naming_bugs("the other receivers are told"):
                act()
        except RotatorError as error:
            found = error

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            was_unusable = receiver.failure is not None and receiver.failure.kind is FailureKind.UNUSABLE
            if found is not None:
                return self.fail(work, receiver, found, now)
            if not was_unusable:
                return []
            work.outbox.save_receiver(replace(receiver, failures=0, retry_at=None, failure=None))
            return [self._wording.restored()]

        self.note(change, now)
        self._checked.add(self._name)

    def take(self, work: UnitOfWork, now: datetime) -> Receiver | None:
        """Return the receiver, under a claim; None while another process delivers to it, or while it rests.

        A new receiver starts at the head of the log.
        """
        newest = work.audit.load_newest_number()
        known = {found.name for found in work.outbox.load_receivers()}
        if self._name not in known:
            work.outbox.save_receiver(Receiver(self._name, newest, now))
        receiver = work.outbox.claim(self._name, self._run.claimant, CLAIMED_FOR)
        if receiver is None or rests(receiver, now):
            return None
        if newest < receiver.cursor:  # the log is an older one: the database was restored
            receiver = replace(receiver, cursor=newest, cursor_at=now)
            work.outbox.save_receiver(receiver)
        return receiver

    def move_on(self, work: UnitOfWork, receiver: Receiver, now: datetime) -> None:
        """Move the cursor to the log's end, now and then, when there is nothing to deliver before it."""
        if lags(work, receiver, now):
            newest = work.audit.load_newest_number()
            work.outbox.save_receiver(replace(receiver, cursor=newest, cursor_at=now))

    def fail(self, work: UnitOfWork, receiver: Receiver, error: RotatorError, now: datetime) -> list[Event]:
        """Note that a receiver failed; it rests for a while. It is told unless that lasts.

        What was told of it ended when it left the settings: if it comes back and still fails, that is told again.
        """
        failures = receiver.failures + 1
        pause = make_backoff(failures, first=FIRST_RETRY, longest=LONGEST_RETRY)
        work.outbox.save_receiver(replace(receiver, failures=failures, retry_at=now + pause, failure=Failure.of(error)))
        failed = self._wording.failed(error)
        begun = failed.type.begins
        return [] if begun is not None and self._name in find_lasting(work, begun) else [failed]

    def skip(self, error: AuditChainError) -> bool:
        """Set an event aside that cannot be read; return whether the next one can be taken."""
        now = self._clock.now()
        moved = False

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            nonlocal moved
            moved = receiver.cursor < error.sequence
            if not moved:
                return []
            work.outbox.save_receiver(replace(receiver, cursor=error.sequence, cursor_at=now))
            return [self._wording.set_aside(f"event {error.sequence} of the audit log", error)]

        self.note(change, now)
        return moved

    def note(self, change: Change, now: datetime) -> None:
        """Write what came of a delivery, with its events; without them where the log's end cannot be read."""
        try:
            self._write(change, now, is_audited=True)
        except AuditChainError:
            self._write(change, now, is_audited=False)

    def _write(self, change: Change, now: datetime, *, is_audited: bool) -> None:
        """Write it, after a stop too: what the receiver took is not to be sent again."""
        with self._run.services.closing_database.begin() as work:
            receiver = work.outbox.claim(self._name, self._run.claimant, CLAIMED_FOR)
            if receiver is None:  # another process has taken over, and sends it again with the same id
                return
            for event in change(work, receiver):
                if is_audited:
                    record(work, self._run, self._name, event, now)
                else:
                    work.afterwards(partial(self._run.progress, event, self._name))

    def release(self) -> None:
        """Give the right back."""
        try:
            with self._run.services.closing_database.begin() as work:
                work.outbox.release(self._name, self._run.claimant)
        except DatabaseError:
            return  # it ends by itself


def rests(receiver: Receiver, now: datetime) -> bool:
    """Whether a receiver failed, and nothing is sent to it for a while."""
    return is_kept_from(receiver.retry_at, now, longest=LONGEST_RETRY)


def lags(reading: Reading, receiver: Receiver, now: datetime) -> bool:
    """Whether a cursor is to be moved although nothing was delivered, or is beyond the log's end."""
    newest = reading.audit.load_newest_number()
    return newest < receiver.cursor or (newest > receiver.cursor and now - receiver.cursor_at >= MOVE_CURSOR_AFTER)
