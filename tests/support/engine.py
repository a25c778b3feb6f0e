"""A world for engine tests: the real engine on the fakes, a timeline of all that happens, and deaths on request.

Every run ends with `EngineWorld.check_promises`: no value of a PAT anywhere outside the vault, an audit chain that
verifies, and no mutating call without a committed intent before it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from rotator.domain.account import Account
from rotator.domain.audit_event import AuditEntry, AuditEvent
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.policy import Policy
from rotator.domain.rotation import Rotation
from rotator.engine.auditing import check_chain
from rotator.engine.context import Engine, Timing
from rotator.engine.cycle import rotate_by_hand, run_once
from rotator.engine.ports import AuditLog, MintedPat, SecretLocation, SignInStatus, StoredSecret, UnitOfWork
from rotator.engine.report import RunReport
from rotator.errors import DatabaseError, RotatorError
from tests.support.clock import FakeClock
from tests.support.fake_database import MemoryDatabase
from tests.support.fake_pat_service import FakePat, FakePatService
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.policies import RULE, make_policy

ACCOUNT, ORGANIZATION, VAULT, NAME = "build-bot", "contoso", "https://contoso-kv.vault.azure.net", "npm-feed"
SCOPE = "vso.packaging vso.code"
LIFETIME, OVERLAP = timedelta(days=30), timedelta(hours=24)
CANARY = "AZDOfake"
"""The end of every PAT value that the fake service makes."""
MUTATIONS = frozenset({"mint", "revoke", "store", "disable", "check_writable"})
_INTENTS = {
    "check_writable": {"rotation_planned"},
    "mint": {"mint_started"},
    "store": {"store_started", "restore_started"},
    "revoke": {"revoke_started"},
    "disable": {"revoke_started"},
}
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


class WatchedDatabase(MemoryDatabase):
    """Writes the marks of each commit on the timeline, and dies, is interrupted or refuses where it is told to.

    A mark is the value of a state that a rotation entered, or the name of an audit event. `dies_before` loses the
    commit with that mark, `dies_after` keeps it; either way every later transaction fails until `revive`.
    `interrupts` are called once after the commit with that mark. `audit_left` is how many more events can be
    written, None for any number. `skew` is how far the database's clock is ahead of the host's.
    """

    def __init__(self, clock: FakeClock, timeline: list[str]) -> None:
        super().__init__(host_now=lambda: clock.now() + self.skew, lock_timeout=0.01)
        self.skew = timedelta(0)
        self.dies_before: str | None = None
        self.dies_after: str | None = None
        self.interrupts: dict[str, Callable[[], None]] = {}
        self.audit_left: int | None = None
        self.timeline = timeline
        self._dead = False
        self._seen: dict[str, str] = {}

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
        with super().begin() as work:
            audit = work.audit = _BoundedAuditLog(work.audit, self)
            yield work
            marks = self._find_marks(work, audit)
            self._die_if(self.dies_before, marks)
        self.timeline.extend(marks)
        self._die_if(self.dies_after, marks)
        for mark in marks:
            if mark in self.interrupts:
                self.interrupts.pop(mark)()

    def _find_marks(self, work: UnitOfWork, audit: _BoundedAuditLog) -> list[str]:
        marks = []
        for pat in work.inventory.load_all():
            for rotation in reversed(work.journal.load_for(pat.name)):
                if self._seen.get(rotation.id) != rotation.state.value:
                    self._seen[rotation.id] = rotation.state.value
                    marks.append(rotation.state.value)
        return marks + audit.written

    def _die_if(self, mark: str | None, marks: list[str]) -> None:
        if mark is not None and mark in marks:
            self._dead = True
            raise ProcessDied


class _BoundedAuditLog:
    """The audit log of one transaction of a WatchedDatabase."""

    def __init__(self, log: AuditLog, database: WatchedDatabase) -> None:
        self._log, self._database = log, database
        self.load, self.load_head = log.load, log.load_head
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
    """FakePatService whose answer to a mint can be made to differ from what was created."""

    change_minted: Callable[[MintedPat], MintedPat] | None = None

    def mint(self, account: str, organization: str, *, display_name: str, scope: str, valid_to: datetime) -> MintedPat:
        """See the port."""
        minted = super().mint(account, organization, display_name=display_name, scope=scope, valid_to=valid_to)
        return self.change_minted(minted) if self.change_minted else minted


class FakeSignIn:
    """Port SignIn: everybody is signed in, but those in `refusals`. `calls` lists the accounts asked for."""

    def __init__(self) -> None:
        self.refusals: dict[str, RotatorError] = {}
        self.calls: list[str] = []

    def refresh(self, account: str) -> SignInStatus:
        """See the port."""
        self.calls.append(account)
        if account in self.refusals:
            raise self.refusals[account]
        return SignInStatus(account, f"{account}@contoso.com")


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


class EngineWorld:
    """Azure DevOps, a vault, sign-ins and a database in memory. `timeline` tells calls and commits in order."""

    def __init__(self, policy: Policy, accounts: tuple[Account, ...]) -> None:
        self.clock = FakeClock()
        self.timeline: list[str] = []
        self.pats = ScriptedPats(self.clock)
        self.pats.calls = CallTape(self.timeline)
        self.secrets = FakeSecretStore(self.clock)
        self.secrets.calls = CallTape(self.timeline)
        self.database = WatchedDatabase(self.clock, self.timeline)
        self.sign_in, self.entropy = FakeSignIn(), CountingEntropy()
        self.policy, self.accounts = policy, accounts
        self.timing, self.max_parallel = Timing(), 1
        self.told: list[tuple[str, dict[str, str | int | None]]] = []
        self._runs = 0

    def make_engine(self) -> Engine:
        """An engine as a new process would have it."""
        self._runs += 1
        return Engine(
            database=self.database,
            pats=self.pats,
            secrets=self.secrets,
            sign_in=self.sign_in,
            clock=self.clock,
            entropy=self.entropy,
            accounts=self.accounts,
            policy=self.policy,
            actor="root@host",
            run_id=f"run-{self._runs}",
            progress=lambda event, /, **values: self.told.append((event, values)),
            timing=self.timing,
            max_parallel=self.max_parallel,
        )

    def run(self) -> RunReport:
        """One `rotator once`."""
        return self.watch(lambda: run_once(self.make_engine()))

    def rotate(self, *names: str) -> RunReport:
        """One `rotator rotate NAMES`."""
        return self.watch(lambda: rotate_by_hand(self.make_engine(), list(names)))

    def run_and_die(self, *, before: str | None = None, after: str | None = None) -> None:
        """One `rotator once` that is killed around the commit with a mark; AssertionError if it never came there."""
        self.database.dies_before, self.database.dies_after = before, after
        try:
            self.run()
        except ProcessDied:
            self.database.revive()
        else:
            raise AssertionError(f"no commit with the mark {before or after}: {self.timeline}")

    def watch(self, act: Callable[[], RunReport]) -> RunReport:
        """What the act returns or raises, once the promises are checked."""
        try:
            report = act()
        except ProcessDied:
            raise
        except Exception as error:
            self.check_promises("".join(traceback.format_exception(error)))
            raise
        self.check_promises(repr(report))
        return report

    def check_promises(self, shown: str = "") -> None:
        """No secret outside the vault nor in what is shown, a chain that verifies, an intent before every mutation."""
        assert CANARY not in self.database.dump() + repr(self.told) + shown
        with self.database.begin() as work:
            check_chain(work.audit.load())
        for index, mark in enumerate(self.timeline):
            if mark in MUTATIONS:
                assert _INTENTS[mark] & set(self.timeline[:index]), f"{mark} without an intent: {self.timeline}"
        assert self.timeline.count("mint") <= self.timeline.count("mint_started")

    def advance(self, **span: float) -> None:
        """Let time pass: `advance(hours=2)`."""
        self.clock.advance(timedelta(**span))

    def add_managed(
        self, name: str, *, account: str = ACCOUNT, organization: str = ORGANIZATION, days_left: float = 5
    ) -> ManagedPat:
        """A PAT of 30 days in the server, the vault and the inventory; due under a quarter of them."""
        end = self.clock.now() + timedelta(days=days_left)
        fake = self.pats.add_pat(account, organization, name, SCOPE, end, valid_from=end - LIFETIME)
        record = ManagedPat(
            name=name,
            account=account,
            organization=organization,
            authorization_id=fake.pat.authorization_id,
            display_name=name,
            scope=SCOPE,
            valid_from=fake.pat.valid_from,
            valid_to=fake.pat.valid_to,
            vault=VAULT,
            secret_name=f"{organization}-{name}",
        )
        with self.database.begin() as work:
            work.inventory.add(record)
        self.secrets.write_foreign(self.location(name), fake.value)
        return record

    def add_lookalike(self, valid_to: datetime, name: str = NAME) -> FakePat:
        """A PAT with a managed one's display name, scope and organization, that a person made now."""
        return self.pats.add_pat(ACCOUNT, ORGANIZATION, name, SCOPE, valid_to)

    def location(self, name: str = NAME) -> SecretLocation:
        """Where a managed PAT's value is."""
        record = self.record(name)
        return SecretLocation(record.vault, record.secret_name, record.account)

    def record(self, name: str = NAME) -> ManagedPat:
        """The inventory's record."""
        with self.database.begin() as work:
            found = work.inventory.load(name)
        assert found is not None
        return found

    def rotations(self, name: str = NAME) -> list[Rotation]:
        """A managed PAT's rotations, the oldest first."""
        with self.database.begin() as work:
            return list(reversed(work.journal.load_for(name)))

    def states(self, name: str = NAME) -> list[str]:
        """Where these stand."""
        return [rotation.state.value for rotation in self.rotations(name)]

    def events(self, subject: str | None = NAME) -> list[str]:
        """The audit's events about a subject, each as `event outcome`, in order."""
        with self.database.begin() as work:
            return [f"{e.entry.event} {e.entry.outcome.value}" for e in work.audit.load(subject=subject)]

    def count(self, call: str) -> int:
        """How often a method of a service was called."""
        return sum(made[0] == call for made in (*self.pats.calls, *self.secrets.calls))

    def revoked_ids(self) -> list[str]:
        """The ids that were to be revoked, in order, repeats included."""
        return [subject for call, _, subject in self.pats.calls if call == "revoke"]

    def live_ids(self, name: str = NAME) -> list[str]:
        """The live PATs of that display name, in order of creation."""
        return [fake.pat.authorization_id for fake in self.pats.live_pats(name)]

    def latest(self, name: str = NAME) -> StoredSecret:
        """The newest version in the vault."""
        return self.secrets.versions_of(self.location(name))[0]

    def check_live(self, name: str = NAME) -> None:
        """Consumers read some live PAT."""
        assert self.latest(name).value.reveal() in {fake.value for fake in self.pats.live_pats()}

    def check_served(self, name: str = NAME) -> None:
        """Consumers read the live PAT that the inventory names."""
        current = self.pats.pats[self.record(name).authorization_id]
        assert current in self.pats.live_pats(name)
        assert self.latest(name).value.reveal() == current.value

    def check_rest(self, name: str = NAME, *, besides: tuple[str, ...] = ()) -> None:
        """Nothing open, one live PAT `besides` those known, and it is the one that consumers read."""
        assert not any(rotation.is_open for rotation in self.rotations(name))
        assert [found for found in self.live_ids(name) if found not in besides] == [self.record(name).authorization_id]
        self.check_served(name)

    def finish(self, name: str = NAME, *, besides: tuple[str, ...] = ()) -> None:
        """Run undisturbed until the rotation is over, then check the rest; a further run changes nothing."""
        for _ in range(6):
            self.advance(hours=7)
            self.run()
        self.check_rest(name, besides=besides)
        before = self.database.dump()
        calls = len([mark for mark in self.timeline if mark in MUTATIONS])
        self.run()
        assert self.database.dump().count("RotationState") == before.count("RotationState")
        assert len([mark for mark in self.timeline if mark in MUTATIONS]) == calls


def make_world(*names: str, policy: Policy | None = None) -> EngineWorld:
    """A world with these ManagedPats, `npm-feed` if none is named, each due, of one account in `contoso`."""
    accounts = (
        Account(ACCOUNT, "build-bot@contoso.com", "contoso", ("contoso", "fabrikam")),
        Account("release-bot", "release-bot@contoso.com", "contoso", ("contoso",)),
    )
    world = EngineWorld(policy or make_policy(replace(RULE, overlap=OVERLAP)), accounts)
    for name in names or (NAME,):
        world.add_managed(name)
    return world
