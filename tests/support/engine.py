"""A world for engine tests: the real engine on the fakes, a timeline of all that happens, and deaths on request.

Every run ends with `EngineWorld.check_promises`: no value of a PAT anywhere outside the vault, an audit chain that
verifies, and no mutating call without a committed intent before it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.account import Account
from rotator.domain.audit_event import Detail
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Hold, ManagedPat, ManagedPatState
from rotator.domain.policy import Policy, Verdict
from rotator.domain.rotation import Rotation, RotationKind
from rotator.domain.secret_value import SecretValue
from rotator.engine.auditing import load_events
from rotator.engine.context import RunContext, Services, Timing
from rotator.engine.log_checking import check_log
from rotator.engine.read_notes import NotedSecrets, ReadNotes
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import rotate_by_hand, run_once
from rotator.engine.status import PatStatus, status_from
from rotator.engine.stopping import make_stoppable
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading
from rotator.ports.secret_store import SecretLocation, StoredSecret
from tests.support.clock import FakeClock
from tests.support.engine_fakes import (
    CallTape,
    CountingEntropy,
    FakeSignIn,
    FakeWitnesses,
    OffsetClock,
    ProcessDied,
    ScriptedPats,
    WatchedDatabase,
)
from tests.support.fake_pat_service import FakePat
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.policies import RULE, make_policy
from tests.support.queueing import check_queue
from tests.support.stop import make_stop

ACCOUNT, ORGANIZATION, VAULT, NAME = "build-bot", "contoso", "https://contoso-kv.vault.azure.net", "npm-feed"
SCOPE = "vso.packaging vso.code"
LIFETIME, OVERLAP = timedelta(days=30), timedelta(hours=24)
CANARY = "AZDOfake"
"""The end of every PAT value that the fake service makes."""
MUTATIONS = frozenset({"mint", "revoke", "store", "disable", "prove_writable"})
_INTENTS = {
    "prove_writable": {"rotation_planned"},
    "mint": {"mint_started"},
    "store": {"store_started", "restore_started"},
    "revoke": {"revoke_started"},
    "disable": {"revoke_started"},
}


class EngineWorld:
    """Azure DevOps, a vault, sign-ins and a database in memory. `timeline` tells calls and commits in order."""

    def __init__(self, policy: Policy, accounts: tuple[Account, ...]) -> None:
        self.clock = FakeClock()
        self.stop = make_stop(self.clock)
        self.timeline: list[str] = []
        self.pats = ScriptedPats(self.clock)
        self.pats.calls = CallTape(self.timeline)
        self.secrets = FakeSecretStore(self.clock)
        self.secrets.calls = CallTape(self.timeline)
        self.database = WatchedDatabase(self.clock, self.timeline)
        self.sign_in, self.entropy = FakeSignIn(), CountingEntropy()
        self.policy, self.accounts = policy, accounts
        self.witnesses, self.host_clock = FakeWitnesses(self.clock), OffsetClock(self.clock)
        self.timing, self.max_parallel = Timing(), 1
        self.marker_key: SecretValue | None = None
        self.told: list[tuple[str, dict[str, Detail]]] = []
        self._unfilled: list[str] = []
        self._runs = 0

    def make_services(self) -> Services:
        """Services as a new process would have them."""
        services = Services(
            database=self.database,
            closing_database=self.database,
            pats=self.pats,
            secrets=self.secrets,
            sign_in=self.sign_in,
            clock=self.host_clock,
            boot=self.clock,
            witnesses=self.witnesses,
            stop=self.stop,
            entropy=self.entropy,
            accounts=self.accounts,
            timing=self.timing,
            max_parallel=self.max_parallel,
            marker_key=self.marker_key,
        )
        return make_stoppable(services)

    def make_run(self, services: Services | None = None) -> RunContext:
        """A new run, in a new process unless it is given the services of one that is there."""
        self._runs += 1
        reads, services = ReadNotes(), services or self.make_services()
        return RunContext(
            services=replace(services, secrets=NotedSecrets(services.secrets, reads)),
            reads=reads,
            policy=self.policy,
            run_id=f"run-{self._runs}",
            actor="root@host",
            claimant=f"run-{self._runs}",
            progress=self._note_told,
        )

    def _note_told(self, event: Event, subject: str) -> None:
        self.told.append((event.type.name, event.make_line(subject)))
        self._unfilled += find_unfilled(event)

    def run(self) -> RunReport:
        """One `rotator once`."""
        return self.watch(lambda: run_once(self.make_run()))

    def rotate(self, *names: str) -> RunReport:
        """One `rotator rotate NAMES`."""
        return self.watch(lambda: rotate_by_hand(self.make_run(), list(names)))

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
        """No secret outside the vault nor in what is shown, a chain that verifies, an intent before every mutation.

        And no event that leaves open what it is there to say.
        """
        assert CANARY not in self.database.dump() + repr(self.told) + shown
        assert self._unfilled == []
        check_log(self.database)
        with self.database.read() as reading:
            check_conditions(reading, self.policy, self.clock.now())
            assert check_queue(reading, self.policy, self.timing.settle, self.clock.now()) == []
        for index, mark in enumerate(self.timeline):
            if mark in MUTATIONS:
                assert _INTENTS[mark] & set(self.timeline[:index]), f"{mark} without an intent: {self.timeline}"
        assert self.timeline.count("mint") <= self.timeline.count("mint_started")

    def forget(self, name: str = NAME) -> None:
        """Take a record away, whatever goes on."""
        with self.database.begin() as work:
            claim = work.claims.claim(name, "a person", now=work.now(), span=self.timing.lease)
            work.inventory.remove(name, claim)

    def heal(self) -> None:
        """Take every arranged fault away."""
        self.pats._planned.clear()
        self.secrets._planned.clear()
        self.secrets.denied.clear()
        self.secrets.is_stale = lambda: False
        self.sign_in.refusals.clear()
        self.secrets.ignores_store = lambda: False
        self.pats.signed_out.clear()
        self.pats.lingering.clear()
        self.pats.change_minted = self.pats.change_listed = self.pats.change_identity = self.pats.shown = None
        self.pats.organizations[ORGANIZATION].mint_error = None
        self.database.audit_left = None
        self.host_clock.ahead = self.database.skew = timedelta(0)
        self.database.clocks.has_clock = False
        self.witnesses.ahead = dict.fromkeys(self.witnesses.ahead, timedelta(0))

    def show_status(self) -> tuple[PatStatus, ...]:
        """What `rotator status` would show."""
        timing, now = self.timing, self.clock.now()
        return status_from(self.database, self.policy, now, settle=timing.settle, lease=timing.lease)

    def advance(self, **span: float) -> None:
        """Let time pass: `advance(hours=2)`."""
        self.clock.advance(timedelta(**span))

    def add_managed(
        self,
        name: str,
        *,
        account: str = ACCOUNT,
        organization: str = ORGANIZATION,
        days_left: float = 5,
        lifetime: timedelta = LIFETIME,
    ) -> ManagedPat:
        """A PAT, of 30 days by default, in the server, the vault and the inventory; due under a quarter of them."""
        end = self.clock.now() + timedelta(days=days_left)
        fake = self.pats.add_pat(account, organization, name, SCOPE, end, valid_from=end - lifetime)
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
        confirmed = self.secrets.write_foreign(SecretLocation.of(record), fake.value)
        record = replace(record, confirmed_version=confirmed)
        with self.database.begin() as work:
            work.inventory.add(record)
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
        return [rotation for rotation in self._journaled(name) if rotation.kind is not RotationKind.RESTORE]

    def restores(self, name: str = NAME) -> list[Rotation]:
        """The attempts to put a managed PAT's value back, the oldest first."""
        return [rotation for rotation in self._journaled(name) if rotation.kind is RotationKind.RESTORE]

    def _journaled(self, name: str) -> list[Rotation]:
        return [rotation for rotation in self.database.list_rotations() if rotation.name == name]

    def states(self, name: str = NAME) -> list[str]:
        """Where these stand."""
        return [rotation.state.value for rotation in self.rotations(name)]

    def events(self, subject: str | None = NAME) -> list[str]:
        """The audit's events about a subject, each as `event outcome`, in order."""
        events = load_events(self.database, AuditFilter(subject=subject))
        return [f"{e.entry.event} {e.entry.outcome.value}" for e in events]

    def codes(self, name: str = NAME) -> list[str]:
        """Why each rotation was given up or failed, the oldest first."""
        return [rotation.failure.code for rotation in self.rotations(name) if rotation.failure]

    def count(self, call: str) -> int:
        """How often a method of a service was called."""
        return sum(made[0] == call for made in (*self.pats.calls, *self.secrets.calls))

    def revoked_ids(self) -> list[str]:
        """The ids that were to be revoked, in order, repeats included."""
        return [subject for call, _, subject in self.pats.calls if call == "revoke"]

    def live_ids(self, name: str = NAME) -> list[str]:
        """The live PATs of that display name, in order of creation."""
        return [fake.pat.authorization_id for fake in self.pats.live_pats(name)]

    def mint_late(self) -> str:
        """Have a mint given up as not created that takes effect after all; the id of the PAT that it made."""
        self.pats.postpone_mint()
        self.run()
        self.advance(minutes=11)
        self.run()
        assert self.pats.apply_late() == 1
        return self.live_ids()[-1]

    def latest(self, name: str = NAME) -> StoredSecret:
        """The newest version in the vault."""
        return self.secrets.versions_of(self.location(name))[0]

    def is_live(self, name: str = NAME) -> bool:
        """Whether consumers read some live PAT."""
        latest = self.latest(name)
        return latest.version.enabled and any(fake.value == latest.value.reveal() for fake in self.pats.live_pats())

    def check_served(self, name: str = NAME) -> None:
        """Consumers read the live PAT that the inventory names."""
        assert self.latest(name).version.enabled
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


def find_unfilled(event: Event) -> list[str]:
    """What an event leaves open that it is there to say: its message, or a field that may not be None."""
    kinds = event.__annotations__
    missing = [name for name in event.fields if getattr(event, name) is None and "None" not in str(kinds[name])]
    empty = ["message"] if getattr(event, "message", "-") == "" else []
    return [f"{event.type.name}: {name}" for name in (*missing, *empty)]


def check_conditions(reading: Reading, policy: Policy, now: datetime) -> None:
    """What lasts agrees with the records: an active one is failing or blocked exactly while a condition says so.

    One that the policy forbids to rotate is blocked too, from the next look on. One that vanished is told as that.
    """
    lasting = {(condition.kind, condition.subject) for condition in reading.conditions.load()}
    limits = reading.limits.load()
    for pat in reading.inventory.load_all():
        if pat.state is ManagedPatState.ACTIVE:
            decision = policy.decide(pat, now=now, longest=find_longest(limits, pat, now))
            is_forbidden = decision.obstacle is not None or pat.all_organizations
            is_rotating = any(rotation.is_of(pat.name) for rotation in reading.journal.load_open())
            is_only_unlisted = pat.is_called_missing and decision.verdict is not Verdict.DUE and not is_rotating
            is_failing = pat.last_failure is not None and not pat.blocked
            is_vanished = (ConditionKind.PAT_VANISHED, pat.name) in lasting
            assert is_vanished == (pat.hold is Hold.REVOKED_ELSEWHERE), pat
            is_told_blocked = (ConditionKind.ROTATION_BLOCKED, pat.name) in lasting or (is_vanished and pat.blocked)
            is_told_failing = (ConditionKind.ROTATION_FAILING, pat.name) in lasting
            assert is_told_blocked == pat.blocked or (is_forbidden and is_told_blocked), pat
            is_explained = is_vanished or is_only_unlisted or (is_forbidden and is_told_blocked)
            assert is_told_failing == is_failing or is_explained, pat


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


def names_of(report: RunReport, *kinds: OutcomeKind) -> list[str]:
    """The names in a report's outcomes of these kinds."""
    return [outcome.name for outcome in report.of_kind(*kinds)]


def codes_of(report: RunReport, *kinds: OutcomeKind) -> list[str]:
    """The codes of the failures in a report's outcomes of these kinds."""
    return [outcome.failure.code for outcome in report.of_kind(*kinds) if outcome.failure]
