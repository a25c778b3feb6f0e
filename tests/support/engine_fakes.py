"""What an engine test's world is made of: the fakes, with a timeline, deaths and refusals on request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import Generic, NoReturn, Protocol, TypeVar

from rotator.domain.account import Identity
from rotator.domain.audit_event import AuditEntry, AuditEvent
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.secret_value import SecretValue
from rotator.errors import DatabaseError, DatabaseLockedError, DatabaseUnreachableError
from rotator.ports.audit_log import AuditLog
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.inventory import Inventory
from rotator.ports.journal import Journal
from rotator.ports.pat_service import MintedPat, PatFilter, PatList
from rotator.ports.permit import Permit
from rotator.ports.sign_in import DevicePrompt, SignInStatus, TokenCacheDamage
from tests.support.clock import FakeClock
from tests.support.fake_database import MemoryDatabase
from tests.support.fake_pat_service import FakePat, FakePatService

CallT = TypeVar("CallT", bound=tuple[object, ...])


class ProcessDied(BaseException):
    """The process was killed here. Not an Exception: nothing in the product may catch it."""


class CallTape(list[CallT], Generic[CallT]):
    """A fake's list of calls that also writes each call's name on the timeline."""

    def __init__(self, timeline: list[str]) -> None:
        super().__init__()
        self._timeline = timeline

    def append(self, call: CallT) -> None:
        """Note one call."""
        self._timeline.append(str(call[0]))
        super().append(call)


class TransactionWatcher(Protocol):
    """Who looks at every transaction of a WatchedDatabase."""

    def meet(self, moment: str) -> None:
        """Look at a transaction that only reads, which begins."""

    def meet_transaction(self, work: UnitOfWork) -> None:
        """Look at a transaction that begins, and perhaps take parts of it away."""

    def meet_commit(self, marks: list[str]) -> None:
        """Learn the marks of a transaction that was committed."""


class RecordAdder:
    """A TransactionWatcher: somebody else adds a record right before the next transaction that writes."""

    def __init__(self, record: ManagedPat) -> None:
        self._records = [record]

    def meet(self, moment: str) -> None:
        """See TransactionWatcher."""

    def meet_transaction(self, work: UnitOfWork) -> None:
        """See TransactionWatcher."""
        while self._records:
            work.inventory.add(self._records.pop())

    def meet_commit(self, marks: list[str]) -> None:
        """See TransactionWatcher."""


class CommitFault(Enum):
    """How a transaction goes wrong: no lock was had, or COMMIT was not answered, and dropped or kept all the same."""

    LOCKED = "locked"
    DROPPED = "dropped"
    KEPT = "kept"

    def make_error(self) -> DatabaseError:
        """Make what the engine is told."""
        if self is CommitFault.LOCKED:
            return DatabaseLockedError("the database is locked by another process")
        return DatabaseUnreachableError("the database cannot be reached: the connection was closed")


class WatchedDatabase(MemoryDatabase):
    """Writes the marks of each commit on the timeline, and dies, is interrupted or refuses where it is told to.

    A mark is the value of a state that a rotation entered, or the name of an audit event. `dies_before` loses the
    commit with that mark, `dies_after` keeps it; either way every later transaction fails until `revive`.
    `refusals` are raised once in place of the commit with that mark, `losses` once after it was made. `interrupts`
    are called once after it. `faults` strike the transactions of these numbers, counted by `begun`; `lost_reads` is how
    many of the next reads fail. `watcher` is told
    of every transaction. `audit_left` is how many more events can be written, None for any number. `skew` is how far
    the database's clock is ahead of the host's.
    """

    def __init__(self, clock: FakeClock, timeline: list[str]) -> None:
        super().__init__(host_now=lambda: clock.now() + self.skew, lock_timeout=0.01)
        self.clocks.boot = clock
        self.skew = timedelta(0)
        self.dies_before: str | None = None
        self.dies_after: str | None = None
        self.refusals: dict[str, DatabaseError] = {}
        self.losses: dict[str, DatabaseError] = {}
        self.interrupts: dict[str, Callable[[], object]] = {}
        self.faults: dict[int, CommitFault] = {}
        self.begun = 0
        self.lost_reads = 0
        self.audit_left: int | None = None
        self.watcher: TransactionWatcher | None = None
        self.timeline = timeline
        self._dead = False
        self._seen: dict[str, str] = {}

    def die(self) -> NoReturn:
        """The process dies here and now: nothing that it would still do has any effect."""
        self._dead = True
        raise ProcessDied

    def revive(self) -> None:
        """A new process starts."""
        self._dead, self.dies_before, self.dies_after = False, None, None

    def dump(self) -> str:
        """Everything that is stored, as text."""
        return repr(self._tables)

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        if self._dead:
            raise ProcessDied
        self.begun += 1
        fault = self.faults.pop(self.begun, None)
        if fault is CommitFault.LOCKED:
            raise fault.make_error()
        with super().begin() as work:
            audit = work.audit = _BoundedAuditLog(work.audit, self)
            inventory, journal = work.inventory, work.journal
            if self.watcher is not None:
                self.watcher.meet_transaction(work)
            yield work
            changed = self._find_changed(inventory, journal)
            marks = [*changed.values(), *audit.written]
            self._die_if(self.dies_before, marks)
            _raise_once(self.refusals, marks)
            if fault is CommitFault.DROPPED:
                raise fault.make_error()
            self._seen.update(changed)  # while no other thread can take these for its own
        self.timeline.extend(marks)
        if self.watcher is not None:
            self.watcher.meet_commit(marks)
        self._die_if(self.dies_after, marks)
        _raise_once(self.losses, marks)
        if fault is CommitFault.KEPT:
            raise fault.make_error()
        for mark in marks:
            if mark in self.interrupts:
                self.interrupts.pop(mark)()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port."""
        if self._dead:
            raise ProcessDied
        if self.lost_reads > 0:
            self.lost_reads -= 1
            raise DatabaseUnreachableError("the database cannot be reached: the connection was closed")
        if self.watcher is not None:
            self.watcher.meet("read")
        with super().read() as reading:
            yield reading

    def _find_changed(self, inventory: Inventory, journal: Journal) -> dict[str, str]:
        """The new states of the rotations that this transaction moved, by id."""
        found = [rotation for pat in inventory.load_all() for rotation in reversed(journal.load_for(pat.name))]
        return {r.id: r.state.value for r in found if self._seen.get(r.id) != r.state.value}

    def _die_if(self, mark: str | None, marks: list[str]) -> None:
        if mark is not None and mark in marks:
            self._dead = True
            raise ProcessDied


def _raise_once(errors: dict[str, DatabaseError], marks: list[str]) -> None:
    for mark in marks:
        if mark in errors:
            raise errors.pop(mark)


class _BoundedAuditLog:
    """The audit log of one transaction of a WatchedDatabase."""

    def __init__(self, log: AuditLog, database: WatchedDatabase) -> None:
        self._log, self._database = log, database
        self.load, self.load_head, self.load_newest_number = log.load, log.load_head, log.load_newest_number
        self.load_newest, self.load_after, self.count = log.load_newest, log.load_after, log.count
        self.load_named, self.load_hashes, self.load_times = log.load_named, log.load_hashes, log.load_times
        self.find_first, self.delete_archived = log.find_first, log.delete_archived
        self.written: list[str] = []

    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        """See the port."""
        if self._database.audit_left is not None:
            if self._database.audit_left == 0:
                self._database.timeline.append("audit_refused")
                raise DatabaseError("the database cannot be written: the disk is full", code="database_full")
            self._database.audit_left -= 1
        self.written.append(entry.event)
        return self._log.append(entry, occurred_at)


class ScriptedPats(FakePatService):
    """FakePatService whose answers can be made to differ from what is there.

    `shown` are the PATs that reads show in place of those that there are: some of them, or as they were before.
    `change_identity` changes whom a sign-in with a PAT answers with.
    """

    change_minted: Callable[[MintedPat], MintedPat] | None = None
    change_identity: Callable[[Identity], Identity] | None = None
    shown: dict[str, FakePat] | None = None

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """See the port."""
        with self._showing():
            return super().fetch_pats(account, organization, which)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """See the port."""
        with self._showing():
            return super().fetch_pat(account, organization, authorization_id)

    def mint(
        self,
        account: str,
        organization: str,
        *,
        display_name: str,
        scope: str,
        valid_to: datetime,
        permit: Permit,
    ) -> MintedPat:
        """See the port."""
        minted = super().mint(
            account, organization, display_name=display_name, scope=scope, valid_to=valid_to, permit=permit
        )
        return self.change_minted(minted) if self.change_minted else minted

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """See the port."""
        identity = super().verify(organization, value)
        return self.change_identity(identity) if self.change_identity else identity

    @contextmanager
    def _showing(self) -> Iterator[None]:
        with self._lock:
            there = self.pats
            self.pats = there if self.shown is None else self.shown
            try:
                yield
            finally:
                self.pats = there


class FakeSignIn:
    """Port SignIn: everybody is signed in, but those in `refusals`. `calls` lists the accounts asked for.

    What is refused to accounts in `cached` shows when the token is renewed, and not before.
    """

    def __init__(self) -> None:
        self.refusals: dict[str, Exception] = {}
        self.cached: set[str] = set()
        self.unasked: set[str] = set()
        """The accounts that Entra cannot be asked for, and that have a token."""
        self.damage: TokenCacheDamage | None = None
        self.unsaved: TokenCacheDamage | None = None
        self.saved_at: datetime | None = None
        self.calls: list[str] = []
        self.refreshed_at: dict[str, datetime] = {}
        self.generations: dict[str, str] = {}

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """See the port."""
        self.calls.append(account)
        if account in self.refusals and (renews or account not in self.cached):
            raise self.refusals[account]
        is_renewed = not (renews and account in self.unasked)
        refreshed_at = self.refreshed_at.get(account)
        return SignInStatus(account, f"{account}@contoso.com", refreshed_at=refreshed_at, is_renewed=is_renewed)

    def status(self, account: str) -> SignInStatus:
        """See the port. Whether somebody signed in shows, as in a real cache, once it is no longer refused."""
        refusal = self.refusals.get(account)
        generation = self.generations.get(account, "in" if refusal is None else f"refused: {refusal}")
        return SignInStatus(account, f"{account}@contoso.com", generation=generation)

    def find_unsaved(self) -> TokenCacheDamage | None:
        """See the port."""
        return self.unsaved

    def find_saved_at(self) -> datetime | None:
        """See the port."""
        return self.saved_at

    def find_damage(self) -> TokenCacheDamage | None:
        """See the port."""
        return self.damage


class PersonsSignIn(FakeSignIn):
    """The port InteractiveSignIn, for conversations that a test holds itself."""

    def login_with_device_code(self, account: str, show: Callable[[DevicePrompt], None]) -> SignInStatus:
        """See the port."""
        return self.status(account)

    def login_with_browser(self, account: str, open_url: Callable[[str], None], timeout: timedelta) -> SignInStatus:
        """See the port."""
        return self.status(account)

    def logout(self, account: str) -> bool:
        """See the port."""
        return True


class OffsetClock:
    """Port Clock of a host: the true time, and how far this host's clock is ahead of it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """See the port."""
        return self._clock.now() + self.ahead


class FakeWitnesses:
    """Port Witnesses: each service's clock is that far ahead of the true time; two are heard, and right."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.ahead: dict[str, timedelta] = dict.fromkeys(("azure_devops", "key_vault"), timedelta(0))

    def read_witnesses(self) -> dict[str, datetime]:
        """See the port."""
        now = self._clock.now()
        return {name: now + span for name, span in self.ahead.items()}

    def forget(self, services: Collection[str]) -> None:
        """See the port."""
        for service in services:
            self.ahead.pop(service, None)


class CountingEntropy:
    """Port Entropy without chance: ids count up, a pick is the low bound."""

    def __init__(self) -> None:
        self.made = 0

    def make_id(self) -> str:
        """See the port."""
        self.made += 1
        return f"{self.made:032x}"

    def pick(self, low: int, high: int) -> int:
        """See the port."""
        return low
