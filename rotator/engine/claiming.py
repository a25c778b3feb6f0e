"""Work on one ManagedPat under a claim: each step is committed, with its audit event, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Unpack

from rotator.domain.audit_event import Detail
from rotator.domain.events.event import Event
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import Rotation, RotationChanges, RotationState
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.errors import ClaimLostError, RotationError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.secret_store import SecretLocation


class ClaimedPat:
    """One ManagedPat under our claim, with its open rotation if it has one.

    Every change goes through `begin`, `step`, `learn`, `save` or `record`: journal, inventory, audit log and the
    renewed claim in one transaction, which is refused as a whole when somebody else has claimed the ManagedPat since.
    """

    def __init__(self, run: RunContext, claim: Claim, pat: ManagedPat, rotation: Rotation | None) -> None:
        self.run = run
        self.services = run.services
        self.pat = pat
        self._claim = claim
        self._ends_at = run.services.clock.now() + run.services.timing.lease
        self._rotation = rotation

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

    def begin(self, rotation: Rotation, event: Event) -> None:
        """Journal a new rotation with the event that tells its intent."""
        with self._commit([event], rotation) as work:
            work.journal.insert(rotation, self._claim)
        self._rotation = rotation
        self._tell([event])

    def step(
        self,
        state: RotationState,
        *events: Event,
        pat: ManagedPat | None = None,
        admit: Callable[[UnitOfWork], None] | None = None,
        **changes: Unpack[RotationChanges],
    ) -> None:
        """Move the rotation to `state`, with what happened, and change the inventory record if `pat` is given.

        `admit` may refuse the step by raising, inside the transaction; then nothing is written.
        """
        moved = self.rotation.advance(state, self.services.clock.now(), **changes)
        with self._commit(events, moved) as work:
            if admit is not None:
                admit(work)
            work.journal.save(moved, self._claim)
            if pat is not None:
                work.inventory.save(pat, self._claim)
        self._rotation = moved
        self.pat = pat or self.pat
        self._tell(events)

    def learn(self, **changes: Unpack[RotationChanges]) -> None:
        """Note something about the rotation without moving it."""
        noted = self.rotation.note(self.services.clock.now(), **changes)
        with self._commit([], None) as work:
            work.journal.save(noted, self._claim)
        self._rotation = noted

    def save(self, pat: ManagedPat, *events: Event) -> None:
        """Replace the inventory record, with what happened."""
        with self._commit(events, self._rotation if self.has_open_rotation else None) as work:
            work.inventory.save(pat, self._claim)
        self.pat = pat
        self._tell(events)

    def record(self, event: Event) -> None:
        """Record what happened to the rotation at hand, and change nothing else."""
        with self._commit([event], self.rotation):
            pass
        self._tell([event])

    def check_claim(self) -> None:
        """Raise ClaimLostError unless our claim is still valid. Call it right before every mutating request.

        Judged by the host's clock as it was before the last commit: the database's clock may differ from it.
        """
        if self.services.clock.now() >= self._ends_at:
            raise ClaimLostError(
                "our claim ran out before a request was sent; nothing was sent",
                fix="Nothing to do: the next run continues from the journal.",
            )

    @contextmanager
    def _commit(self, events: Iterable[Event], rotation: Rotation | None) -> Iterator[UnitOfWork]:
        run, now = self.run, self.services.clock.now()
        place: dict[str, Detail] = {"account": self.pat.account, "organization": self.pat.organization}
        if rotation is not None:
            place["rotation_id"] = rotation.id
        with run.services.database.begin() as work:
            claim = work.claims.renew(self._claim, now=work.now(), span=run.services.timing.lease)
            yield work
            for event in events:
                record(work, run, self.pat.name, event, now, **place)
        self._claim, self._ends_at = claim, now + run.services.timing.lease

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self.run.progress(event, self.pat.name)


def check_managed(reading: Reading, name: str) -> ManagedPat:
    """Return the record of that name. UsageError when there is none."""
    pat = reading.inventory.load(name)
    if pat is None:
        raise UsageError(f'there is no managed PAT "{name}"', fix="See `rotator inventory list` for the names.")
    return pat


@contextmanager
def claimed(run: RunContext, name: str) -> Iterator[ClaimedPat]:
    """Claim a ManagedPat for this run and give the claim back at the end.

    UsageError when there is no such record, ClaimHeldError when another run has it.
    """
    with run.services.database.begin() as work:
        check_managed(work, name)
        claim = work.claims.claim(name, run.claimant, now=work.now(), span=run.services.timing.lease)
        pat = check_managed(work, name)
        rotation = next((item for item in work.journal.load_for(name) if item.is_open), None)
    held = ClaimedPat(run, claim, pat, rotation)
    try:
        yield held
    finally:
        with run.services.closing_database.begin() as work:
            work.claims.release(claim)
