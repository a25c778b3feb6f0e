"""Work on one ManagedPat under a claim: each step is committed, with its audit event, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, Unpack

from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.audit_event import AuditEvent, Detail
from rotator.domain.events.event import Event
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.rotation import Rotation, RotationChanges, RotationState
from rotator.domain.timetable import HeldBack
from rotator.domain.words import say_unknown
from rotator.engine.auditing import is_recorded, record
from rotator.engine.context import RunContext
from rotator.engine.in_force import put_in_force
from rotator.engine.lives import be_heard, give_back, leaving, outwait_silent, tell_takeover
from rotator.engine.moments import read_moments
from rotator.engine.queue import enter
from rotator.engine.waiting import Patience, repeat
from rotator.errors import ClaimLostError, NotManagedError, RotationError, StoppedError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.secret_store import SecretLocation
from rotator.ports.stop import Stop

T = TypeVar("T")

_LONGEST_PAUSE = 4.0
"""In seconds, between two attempts to commit while a value exists only in memory."""
_FRESH = timedelta(seconds=5)
"""For so long after a commit a claim is taken for ours without another look: longer than a request usually waits."""
_RELEASE_PATIENCE = timedelta(seconds=5)


class ClaimedPat:
    """One ManagedPat under our claim, with its open rotation if it has one.

    Every change goes through `begin`, `step`, `learn`, `save` or `record`: journal, inventory, audit log and the
    renewed claim in one transaction, which is refused as a whole when somebody else has claimed the ManagedPat since.

    While a value exists only in memory (`holding_value`), a fault of the database that may pass does not end the work:
    what was to be committed or loaded is repeated until the claim ends.
    """

    def __init__(
        self, run: RunContext, claim: Claim, pat: ManagedPat, rotation: Rotation | None, heard: int | None
    ) -> None:
        self.run = run
        self.services = run.services
        self.pat = pat
        self._claim = claim
        self._ends_at = run.services.boot.read_boot().elapsed + run.services.timing.lease
        self._heard = heard
        self._rotation = rotation
        self._holds_value = False
        self._answer_ids = NO_IDS
        self._owners: dict[str, str] = {}

    @property
    def rotation(self) -> Rotation:
        """The rotation at hand. RotationError if there is none, which is a bug in the caller."""
        if self._rotation is None:
            raise RotationError(f"{self.pat.name} has no open rotation", code="no_rotation")
        return self._rotation

    @property
    def has_open_rotation(self) -> bool:
        """Whether a rotation is at hand and not closed."""
        return self._rotation is not None and self._rotation.is_open

    @property
    def location(self) -> SecretLocation:
        """Where the value is stored."""
        return SecretLocation.of(self.pat)

    @contextmanager
    def holding_value(self) -> Iterator[None]:
        """From before the POST to the read-back: a stop, or a fault of the database, ends this only when it must."""
        with self.services.stop.finishing(self.services.timing.stop_within):
            self._holds_value = True
            try:
                yield
            finally:
                self._holds_value = False

    def give_value_up(self) -> None:
        """The value is not needed any more: from now on this work ends like any other."""
        self._holds_value = False
        self.services.stop.end_finishing()

    def note_answer(self, answer_ids: AnswerIds) -> None:
        """Keep the ids of a service's answer: the next event that is committed tells of it, and has them."""
        self._answer_ids = answer_ids

    def load(self, read: Callable[[Reading], T]) -> T:
        """Return what `read` finds in the database."""

        def load() -> T:
            with self.services.database.read() as reading:
                return read(reading)

        return self._persist(load)

    def find_held_back(self) -> HeldBack | None:
        """Return what holds runs back from minting and revoking for it now; by hand it is only told."""
        return self.load(lambda reading: put_in_force(reading, self.run.policy)).find_held_back(
            self.pat, self.services.clock.now()
        )

    def begin(self, rotation: Rotation, event: Event) -> None:
        """Journal a new rotation with the event that tells its intent."""
        self._commit([event], rotation, lambda work: work.journal.insert(rotation, self._claim))
        self._rotation = rotation

    def step(
        self,
        state: RotationState,
        *events: Event,
        pat: ManagedPat | None = None,
        pending: PendingRevocation | None = None,
        admit: Callable[[UnitOfWork], None] | None = None,
        **changes: Unpack[RotationChanges],
    ) -> None:
        """Move the rotation to `state`, with what happened, and change the inventory record if `pat` is given.

        `pending` is the revocation that was answered, and is proven later.
        `admit` is called first, inside the transaction. It may write more, or refuse the step by raising; then nothing
        is written.
        """
        moved = self.rotation.advance(state, self.services.clock.now(), **changes)

        def write(work: UnitOfWork) -> None:
            nonlocal moved
            if admit is not None:
                admit(work)
            moved = self._date(moved, work)
            work.journal.save(moved, self._claim)
            if pat is not None:
                work.inventory.save(pat, self._claim)
            if pending is not None:
                work.revocations.save(pending.request(work.now()), self._claim)

        self._commit(events, moved, write)
        self._rotation = moved
        self.pat = pat or self.pat

    def learn(self, *events: Event, **changes: Unpack[RotationChanges]) -> None:
        """Note something about the rotation, with what happened, without moving it."""
        noted = self.rotation.note(self.services.clock.now(), **changes)
        self._commit(events, noted, lambda work: work.journal.save(noted, self._claim))
        self._rotation = noted

    def save(self, pat: ManagedPat, *events: Event, pending: PendingRevocation | None = None) -> None:
        """Replace the inventory record, with what happened, and with the revocation that is proven later."""
        rotation = self._rotation if self.has_open_rotation else None

        def write(work: UnitOfWork) -> None:
            work.inventory.save(pat, self._claim)
            if pending is not None:
                work.revocations.save(pending.request(work.now()), self._claim)

        self._commit(events, rotation, write)
        self.pat = pat

    def renew(self) -> None:
        """Renew the claim. ClaimLostError when another run has it."""
        self._commit([], None, lambda work: None)

    def request(self, pending: PendingRevocation, event: Event, admit: Callable[[Reading], None]) -> None:
        """Note that a pending revocation is about to be requested once more, unless `admit` refuses it by raising.

        The time of the request is this transaction's: whoever adopts the PAT compares it with the same clock.
        """
        rotation = self._rotation if self.has_open_rotation else None
        self._owners[pending.authorization_id] = pending.account

        def write(work: UnitOfWork) -> None:
            admit(work)
            work.revocations.save(pending.request_again(work.now()), self._claim)

        self._commit([event], rotation, write)

    def begin_attempt(self, attempt: Rotation, event: Event) -> None:
        """Journal an attempt that is closed from the start, before its request; the rotation at hand stays as it is."""
        rotation = self._rotation if self.has_open_rotation else None
        self._commit([event], rotation, lambda work: work.journal.insert(self._date(attempt, work), self._claim))

    def end_attempt(self, attempt: Rotation, pat: ManagedPat, event: Event, moved: Rotation | None = None) -> None:
        """Journal that an attempt was answered, and what that changes in the record and in the rotation at hand."""

        def write(work: UnitOfWork) -> None:
            work.journal.save(self._date(attempt, work), self._claim)
            if moved is not None:
                work.journal.save(moved, self._claim)
            work.inventory.save(pat, self._claim)

        self._commit([event], self._rotation if self.has_open_rotation else None, write)
        self._rotation = moved or self._rotation
        self.pat = pat

    def confirm(self, read: Callable[[Reading], T]) -> T:
        """Renew the claim, and return what `read` finds in that transaction: what must hold for the next request."""
        found: list[T] = []
        self._commit([], self.rotation, lambda work: found.append(read(work)))
        return found[-1]

    def redate(self, after: datetime, at: datetime) -> None:
        """Date anew the rotations of this record that a wrong clock dated later than `after`."""
        self._commit([], None, lambda work: work.journal.redate(after, at, self._claim))

    def remove(self, event: Event) -> None:
        """Take the record out of the inventory, with what happened; the claim goes with it."""
        self._commit([event], None, lambda work: work.inventory.remove(self.pat.name, self._claim))

    def record(self, event: Event, *, write: Callable[[UnitOfWork], None] = lambda work: None) -> None:
        """Record what happened to the rotation at hand, with what `write` writes; it stays in its state."""
        self._commit([event], self.rotation, write)

    def check_claim(self) -> None:
        """Raise ClaimLostError unless our claim is still valid: the permit of every request that changes something.

        Judged by the boot clock as it was before the last commit: a host that was suspended has lost its claims. The
        claim is renewed first when that was some seconds ago, because a failover may have lost it since; and when a
        daemon's heartbeat is late, or was since: others may have taken over.
        """
        ends_at, fresh_until = self._ends_at, self._ends_at - self.services.timing.lease + _FRESH
        if self._elapsed() < ends_at and not (self._elapsed() < fresh_until and self._is_heard()):
            self.renew()
        if self._elapsed() >= ends_at or not self._is_heard():
            raise ClaimLostError(
                "our claim expired before a request was sent; nothing was sent",
                fix="Nothing to do: the next run continues from the journal.",
            )

    def _elapsed(self) -> timedelta:
        return self.services.boot.read_boot().elapsed

    def _is_heard(self) -> bool:
        pulse = self.run.pulse
        return pulse is None or pulse.is_heard(self._heard, self.services.boot)

    def _date(self, rotation: Rotation, reading: Reading) -> Rotation:
        """Date a rotation whose write may take effect late by the latest clock: for so long that is looked for."""
        if not rotation.may_write_late:
            return rotation
        return replace(rotation, updated_at=max(rotation.updated_at, *read_moments(self.run, reading)))

    def _note_revoked(self, events: Sequence[Event], work: UnitOfWork) -> None:
        """Note what is about to be revoked: from then on a late write of its value is looked for."""
        for event in events:
            if isinstance(event, RevokeStarted) and event.authorization_id is not None:
                at = max(read_moments(self.run, work))
                work.journal.note_revoked(event.authorization_id, at, self._claim)

    def _commit(self, events: Sequence[Event], rotation: Rotation | None, write: Callable[[UnitOfWork], None]) -> None:
        run, at, span = self.run, self.services.clock.now(), self.services.timing.lease
        place: dict[str, Detail] = {"organization": self.pat.organization}
        if rotation is not None:
            place["rotation_id"] = rotation.id
        accounts = [self._find_owner(event, rotation) for event in events]
        first: AuditEvent | None = None

        def commit() -> None:
            nonlocal first
            heard, began = be_heard(run), self._elapsed()
            with run.services.database.begin() as work:
                # This locks the record, so it waits for the end of an attempt whose COMMIT was not answered. Then the
                # audit log tells whether that one was kept. Without an event it does no harm to write it again.
                claim = work.claims.renew(self._claim, now=work.now(), span=span)
                if first is None or not is_recorded(work, first):
                    write(work)
                    self._note_revoked(events, work)
                    ids = [self._answer_ids, *[NO_IDS] * len(events)]
                    told = zip(events, accounts, ids, strict=False)
                    lines = [
                        record(work, run, self.pat.name, event, at, account=account, **place, **found)
                        for event, account, found in told
                    ]
                    first = lines[0] if lines else None
                else:
                    for event in events:  # the attempt that was kept could not say so
                        work.afterwards(partial(run.progress, event, self.pat.name))
            self._claim, self._ends_at, self._heard = claim, began + span, heard

        self._persist(commit)
        if events:
            self._answer_ids = NO_IDS

    def _find_owner(self, event: Event, rotation: Rotation | None) -> str:
        """Return whose PAT an event is about: one that moves to another account is replaced by a PAT of that one."""
        found = event.make_details().get("authorization_id")
        if isinstance(found, str) and found in self._owners:
            return self._owners[found]
        if rotation is None:
            return self.pat.account
        return rotation.find_owner(found if isinstance(found, str) else None)

    def _persist(self, act: Callable[[], T]) -> T:
        """Do it; while a value exists only in memory, repeat it until the claim ends."""
        if not self._holds_value:
            return act()
        clock = self.services.boot
        left = Patience(clock, self.services.stop, self._ends_at - clock.read_boot().elapsed, longest=_LONGEST_PAUSE)
        return repeat(act, locked=left, away=left)


def check_managed(reading: Reading, name: str) -> ManagedPat:
    """Return the record of that name. NotManagedError when there is none."""
    pat = reading.inventory.load(name)
    if pat is None:
        known = (record.name for record in reading.inventory.load_all())
        raise NotManagedError(
            say_unknown("managed PAT", name, known), fix="See `rotator inventory list` for the names."
        )
    return pat


def check_asked(held: ClaimedPat, asked: ManagedPat | None, *, by_pat: bool = False) -> None:
    """Raise UsageError when the name is another record's than when a person was `asked` about it, or was shown it.

    With `by_pat` also when that record has another PAT by now.
    """
    pat = held.pat
    if asked is None:
        return
    if pat.record_id == asked.record_id and not (by_pat and pat.authorization_id != asked.authorization_id):
        return
    raise UsageError(
        f"{pat.name} was {asked.authorization_id} when you were asked, and is {pat.authorization_id} now; "
        "nothing was changed",
        code="changed_meanwhile",
        fix=f"See `rotator inventory show {pat.name}`, then run the command again.",
    )


def _claim(run: RunContext, name: str, begun: Claim | None) -> tuple[ClaimedPat, Claim]:
    give_back(run)
    heard = be_heard(run)
    with leaving(run) as taken, run.services.database.begin() as work:
        found = check_managed(work, name)  # locks it, so that it stays as it is
        now, span = work.now(), run.services.timing.lease
        if begun is None:
            claim = work.claims.claim(name, run.claimant, now=now, span=span)
        else:
            claim = work.claims.renew(begun, now=now, span=span)
        taken.append(claim)
        pat = replace(found, epoch=claim.epoch)
        rotation = next(iter(work.journal.load_open_for([name])), None)
        tell_takeover(work, run, claim, pat, rotation)
    return ClaimedPat(run, claim, pat, rotation, heard), claim


@contextmanager
def claimed(run: RunContext, name: str, begun: Claim | None = None) -> Iterator[ClaimedPat]:
    """Claim a ManagedPat for this run, and at the end give the claim back and enter what comes next into the queue.

    NotManagedError when there is no such record, ClaimHeldError when another run has it. `begun` is a claim that this
    run has on it already.
    """
    with nullcontext() if run.pulse is None else run.pulse.working(name):
        held, claim = outwait_silent(run, name, lambda: _claim(run, name, begun))

        def release() -> None:
            with run.services.closing_database.begin() as work:
                # Nothing is read after a stop: then the record stays due, and the next run looks at it.
                found = None if _has_stopped(run.services.stop) else work.inventory.load(name)
                if work.claims.release(claim) and found is not None:
                    enter(work, run, [found])

        try:
            yield held
        finally:
            left = Patience(run.services.boot, run.services.stop, _RELEASE_PATIENCE)
            with leaving(run, claim):
                repeat(release, locked=left, away=left)


def _has_stopped(stop: Stop) -> bool:
    try:
        stop.check()
    except StoppedError:
        return True
    return False
