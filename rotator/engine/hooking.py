"""Call hooks: each call is noted with its id before it is made, and again when it succeeded.

So none is lost to a kill, and a hook that is called twice about one event sees the same id. One process calls a hook at
a time. A call that fails holds up no other: each is made again at its own growing intervals. While an old PAT waits for
a hook to succeed, that goes on for as long as it takes; then the overlap begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.backoff import make_backoff
from rotator.domain.condition import ConditionKind
from rotator.domain.delivery import Receiver
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.events.hooks import HookCallDropped, HookFailed, HookRemoved, HookRestored, HookSucceeded
from rotator.domain.events.rotations import SecretStored
from rotator.domain.hook import HookCall, HookEvent, is_about_pat, make_hook_event
from rotator.domain.job_run import KEPT_FOR
from rotator.domain.managed_pat import Failure
from rotator.engine.auditing import find_lasting, find_record, record
from rotator.engine.awaiting import end_wait, find_awaiting
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.receiver_claim import FIRST_RETRY, LONGEST_RETRY, ReceiverClaim, Wording, lags, rests
from rotator.errors import AuditChainError, DatabaseError, FailureKind, HookError, RotatorError
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.hook import Hook

MOST_TRIES = 10
"""After so many failed tries a call is dropped."""
MOST_REFUSALS = 3
"""The same, where a webhook refuses the call as it is."""
MOST_WAITING = 200
"""So many calls of one hook are written down ahead; the cursor keeps the place of the events after them."""
LONGEST_ROUND = timedelta(minutes=5)
"""No further call is begun after that time: those that wait are made next time."""

CALLABLE = frozenset(
    event.type.name for event in EVENTS if event.type.subject not in (SubjectKind.RECEIVER, SubjectKind.HOOK)
)
"""The events that a hook may be called about: all but those of deliveries and of hooks."""
WORDING = Wording(
    failed=lambda error: HookFailed(code=error.code, message=error.message),
    restored=HookRestored,
    set_aside=lambda about, error: HookCallDropped(about=about, code=error.code, message=error.message),
)


class HookMemory:
    """What a process keeps in memory about hooks. `checked` are those that it looked at since its start.

    `done` are the ids of calls that succeeded and could not be noted yet: they are not made again. `is_swept`: what
    was wrong with hooks that are no longer in the settings was ended since the start.
    """

    def __init__(self) -> None:
        self.checked: set[str] = set()
        self.done: set[str] = set()
        self.is_swept = False

    def forget_settings(self) -> None:
        """Look again at what depends on the settings: they are others now."""
        self.checked.clear()
        self.is_swept = False


def call_hooks(run: RunContext, hooks: Sequence[Hook], memory: HookMemory) -> JobResult:
    """Make the calls that are due; each hook in turn."""
    counts: Counter[str] = Counter()
    for hook in hooks:
        counts += _Round(run, hook, memory).call()
    if not memory.is_swept:
        _remove(run, {hook.terms.name for hook in hooks})
        memory.is_swept = True
    return JobResult(dict(counts))


def load_failing(reading: Reading, hooks: Sequence[Hook]) -> tuple[HookCall, ...]:
    """Return the calls of these hooks that failed and are to be made again."""
    calls = (call for hook in hooks for call in reading.outbox.load_calls(hook.terms.name))
    return tuple(call for call in calls if call.is_waiting and call.failure is not None)


def _remove(run: RunContext, names: set[str]) -> None:
    """End what is wrong with hooks that are no longer in the settings."""
    with run.services.database.read() as reading:
        gone = find_lasting(reading, ConditionKind.HOOK_FAILING) - names
    if gone:
        with run.services.database.begin() as work:
            for name in sorted(gone):
                record(work, run, name, HookRemoved(), run.services.clock.now())


class _Round:
    """Makes the calls of one hook that are due."""

    def __init__(self, run: RunContext, hook: Hook, memory: HookMemory) -> None:
        self._run, self._hook, self._memory = run, hook, memory
        self._name = hook.terms.name
        self._events = frozenset(hook.terms.events) & CALLABLE
        self._claim = ReceiverClaim(run, self._name, memory.checked, WORDING)

    def call(self) -> Counter[str]:
        """Do it, and count what came of it."""
        counts: Counter[str] = Counter()
        if not self._has_work():
            return counts
        boot = self._run.services.boot
        began = boot.read_boot().elapsed
        try:
            self._claim.check(self._hook.check)
            while boot.read_boot().elapsed - began < LONGEST_ROUND and (call := self._take()) is not None:
                counts[self._make(call)] += 1
            self._end_waits()
        finally:
            self._claim.release()
        return counts

    def _has_work(self) -> bool:
        """Whether there is anything to write or to call: a look that writes nothing."""
        now = self._run.services.clock.now()
        if not self._claim.is_checked:
            return True
        with self._run.services.database.read() as reading:
            receiver = next((found for found in reading.outbox.load_receivers() if found.name == self._name), None)
            if receiver is None:
                return True
            if rests(receiver, now):
                return False
            calls = reading.outbox.load_calls(self._name)
            is_due = any(call.is_due(now, LONGEST_RETRY) or call.done_at is not None for call in calls)
            return is_due or self._finds_event(reading, receiver) or lags(reading, receiver, now)

    def _finds_event(self, reading: Reading, receiver: Receiver) -> bool:
        try:
            return bool(reading.audit.load_named(self._events, receiver.cursor, 1))
        except AuditChainError:
            return True

    def _take(self) -> HookCall | None:
        """Write down the calls about new events, and return the one to make next; None when none is due.

        What was tried least comes first.
        """
        now = self._run.services.clock.now()
        try:
            with self._run.services.database.begin() as work:
                receiver = self._claim.take(work, now)
                if receiver is None:
                    return None
                calls = work.outbox.load_calls(self._name)
                self._forget_dropped(work, calls, now)
                waiting = [call for call in calls if call.is_waiting]
                waiting += self._write_down(work, receiver, MOST_WAITING - len(waiting), now)
                due = [call for call in waiting if call.is_due(now, LONGEST_RETRY)]
                return min(due, key=lambda call: (call.tries, call.sequence), default=None)
        except AuditChainError as error:
            return self._take() if self._claim.skip(error) else None

    def _forget_dropped(self, work: UnitOfWork, calls: Sequence[HookCall], now: datetime) -> None:
        """Forget some of the calls that were dropped long ago: nobody makes them, and the audit log tells of them."""
        old = [call for call in calls if call.set_aside_at is not None and call.set_aside_at < now - KEPT_FOR]
        for call in old[:MOST_WAITING]:
            work.outbox.forget_call(call.hook, call.sequence)

    def _write_down(self, work: UnitOfWork, receiver: Receiver, room: int, now: datetime) -> list[HookCall]:
        """Write the calls about the events after the cursor, and move it in the same transaction."""
        events = work.audit.load_named(self._events, receiver.cursor, room) if room > 0 else ()
        calls = [
            HookCall(self._name, event.sequence, self._run.services.entropy.make_id(), found, now)
            for event in events
            if (found := self._read(work, event)) is not None
        ]
        for call in calls:
            work.outbox.save_call(call)
        if events:
            work.outbox.save_receiver(replace(receiver, cursor=events[-1].sequence, cursor_at=now))
        else:
            self._claim.move_on(work, receiver, now)
        return calls

    def _read(self, reading: Reading, event: AuditEvent) -> HookEvent | None:
        """Return what the hook is told of an event; None if it is not called about it."""
        entry, policy = event.entry, self._run.policy
        pat = find_record(reading, event) if is_about_pat(entry.event) else None
        if not policy.calls_hook(self._name, None if pat is None else policy.rule_for(pat)):
            return None
        rotations = () if pat is None else reading.journal.load_for(pat.name)
        rotation = next((found for found in rotations if found.id == entry.details.get("rotation_id")), None)
        return make_hook_event(event, pat, rotation)

    def _make(self, call: HookCall) -> str:
        """Make one call, and note what came of it."""
        output = ""
        if call.id not in self._memory.done:
            self._run.services.stop.check()
            try:
                with naming_bugs("the other hooks are called"):
                    output = self._hook.call(call.event, call.id)
            except DatabaseError:
                raise
            except RotatorError as error:
                return self._note_failure(call, error)
            self._memory.done.add(call.id)
        self._note_success(call, output)
        self._memory.done.discard(call.id)
        return "succeeded"

    def _note_success(self, call: HookCall, output: str) -> None:
        now = self._run.services.clock.now()

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            if self._is_awaited(work, call):
                work.outbox.save_call(replace(call, done_at=now))
            else:
                work.outbox.forget_call(call.hook, call.sequence)
            restored = self._restore(work, receiver, now)
            return [HookSucceeded(delivery_id=call.id, about=_say_about(call), output=output), *restored]

        self._claim.note(change, now)

    def _is_awaited(self, reading: Reading, call: HookCall) -> bool:
        """Whether an old PAT waits, or may come to wait, for this call to succeed."""
        is_required = self._hook.terms.required and call.event.event == SecretStored.type.name
        return is_required and find_awaiting(reading, call) is not None

    def _end_waits(self) -> None:
        """Let the overlaps begin that waited for calls which succeeded, and forget these."""
        with self._run.services.database.read() as reading:
            done = [call for call in reading.outbox.load_calls(self._name) if call.done_at is not None]
        for call in done:
            if end_wait(self._run, call):
                with self._run.services.database.begin() as work:
                    work.outbox.forget_call(call.hook, call.sequence)

    def _restore(self, work: UnitOfWork, receiver: Receiver, now: datetime) -> list[Event]:
        """Note whether the hook works again: no call that failed waits to be made."""
        calls = work.outbox.load_calls(self._name)
        is_restored = not any(call.is_waiting and call.failure is not None for call in calls)
        kept = None if is_restored else receiver.failure
        work.outbox.save_receiver(replace(receiver, failures=0, retry_at=None, failure=kept, delivered_at=now))
        return [HookRestored()] if is_restored and receiver.failure is not None else []

    def _note_failure(self, call: HookCall, error: RotatorError) -> str:
        now = self._run.services.clock.now()
        if error.kind is FailureKind.UNUSABLE:
            self._claim.note(lambda work, receiver: self._claim.fail(work, receiver, error, now), now)
            return "failed"
        tries = call.tries + 1
        pause = make_backoff(tries, first=FIRST_RETRY, longest=LONGEST_RETRY)
        tried = replace(call, tries=tries, retry_at=now + pause, failure=Failure.of(error))
        about, output = _say_about(call), error.output if isinstance(error, HookError) else ""
        failed = HookFailed(code=error.code, message=error.message, about=about, delivery_id=call.id, output=output)
        outcome = "failed"

        def change(work: UnitOfWork, receiver: Receiver) -> list[Event]:
            nonlocal outcome
            outcome = "failed"
            if not _is_hopeless(tried, error) or self._is_awaited(work, call):
                work.outbox.save_call(tried)
                work.outbox.save_receiver(replace(receiver, failure=Failure.of(error)))
                return [failed]
            outcome = "dropped"
            work.outbox.save_call(replace(tried, set_aside_at=now))
            dropped = HookCallDropped(about=about, code=error.code, message=error.message, delivery_id=call.id)
            failing = replace(receiver, failure=Failure.of(error))
            return [failed, dropped, *self._restore(work, failing, now)]

        self._claim.note(change, now)
        return outcome


def _is_hopeless(tried: HookCall, error: RotatorError) -> bool:
    """Whether a call is not to be made any more."""
    is_refused = isinstance(error, HookError) and error.is_refusal
    return tried.tries >= (MOST_REFUSALS if is_refused else MOST_TRIES)


def _say_about(call: HookCall) -> str:
    return f"{call.event.event} of {call.event.subject}"
