"""The world that a simulated engine lives in, and the invariants that are checked at every mutation of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rotator.domain.account import Account, Identity
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction, Threshold
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.secret_value import SecretValue
from rotator.engine.anchoring import check_log
from rotator.engine.context import RunContext, Services, Timing
from rotator.engine.stopping import make_stoppable
from rotator.engine.tags import ROTATION_TAG
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.pat_service import MintedPat, PatFilter, PatList
from rotator.ports.secret_store import SecretLocation, SecretVersion, StoredSecret
from rotator.ports.sign_in import SignInStatus
from tests.simulation.crashing import Life
from tests.support.clock import FakeClock
from tests.support.engine import check_conditions
from tests.support.engine_fakes import CommitFault
from tests.support.fake_database import MemoryDatabase
from tests.support.fake_pat_service import FakePatService
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.stop import make_stop

ACCOUNT, ORGANIZATION, VAULT = "build-bot", "contoso", "https://contoso-kv.vault.azure.net"
OVERLAP, LIFETIME = timedelta(hours=2), timedelta(days=10)
NAMES = ("ci-build", "npm-feed")


FAULT_SHARE = 0.004
"""How many transactions find the database locked, and of how many the COMMIT is answered by nothing."""


class InvariantError(AssertionError):
    """The promise was broken."""


class World:
    """Azure DevOps, a vault and a database in memory, with two ManagedPats that are due.

    `human_ids` are PATs that a person made: the engine must not revoke them. `meddled` are the ManagedPats whose
    PAT a person revoked or whose secret a person wrote; `adopted` are those that a person has adopted. `breaks` tells
    the moments at which consumers read a dead PAT. `stop` is that of the newest run. `database_faults` counts how often
    the database failed a run; it does so no more once `is_database_sound`.
    """

    def __init__(self, randomness: random.Random, names: tuple[str, ...] = NAMES) -> None:
        self.random = randomness
        self.names = names
        self.clock = FakeClock()
        self.pats = FakePatService(self.clock)
        self.secrets = FakeSecretStore(self.clock)
        self.database = MemoryDatabase(host_now=self.clock.now, lock_timeout=0.01)
        self.policy = make_policy()
        self.human_ids: set[str] = set()
        self.meddled: set[str] = set()
        self.adopted: set[str] = set()
        self.breaks: list[str] = []
        self.is_calm = True
        self.marker_key: SecretValue | None = None
        self.restored = False
        self.database_faults = 0
        self.is_database_sound = False
        self.runs = self.gaps = 0
        self.stop = make_stop(self.clock)
        self._add_foreign()
        for name in names:
            self._add_managed(name)
        self.gap_share, self.lag = 0.1, timedelta(minutes=randomness.choice((0, 0, 1, 10)))
        self.pats.change_listed = self._lose_entry

    def location(self, name: str) -> SecretLocation:
        """Where a ManagedPat's value is."""
        return SecretLocation(VAULT, f"contoso-{name}", ACCOUNT)

    def note_adopted(self) -> int:
        """Note which PATs persons have adopted; they may be rotated, and so revoked, from now on. Return how many."""
        with self.database.read() as reading:
            records = [pat for pat in reading.inventory.load_all() if pat.name not in {*self.names, *self.adopted}]
        self.adopted |= {record.name for record in records}
        self.human_ids -= {record.authorization_id for record in records}
        return len(records)

    def make_run(self, life: Life, *, is_person: bool = False) -> RunContext:
        """A run as one process would have it; `stop` stays that of the newest run that is no person's command."""
        self.runs += 1
        database = MortalDatabase(self, life)
        stop = make_stop(MortalClock(self.clock, life))
        self.stop = self.stop if is_person else stop
        services = Services(
            database=database,
            closing_database=database,
            pats=MortalPats(self, life),
            secrets=MortalSecrets(self, life),
            sign_in=MortalSignIn(life),
            clock=self.clock,
            stop=stop,
            entropy=SeededEntropy(self.random),
            accounts=(Account(ACCOUNT, "build-bot@contoso.com", "contoso", (ORGANIZATION,)),),
            timing=Timing(),
            max_parallel=1,
            marker_key=self.marker_key,
        )
        return RunContext(
            services=make_stoppable(services),
            policy=self.policy,
            run_id=f"run-{self.runs}",
            actor="simulation",
            claimant=f"run-{self.runs}",
            progress=lambda event, subject: None,
        )

    def pick_database_fault(self) -> CommitFault | None:
        """What is wrong with the transaction that begins now."""
        if self.is_database_sound:
            return None
        chance = self.random.random() / FAULT_SHARE
        if chance >= 2:
            return None
        self.database_faults += 1
        unanswered = self.random.choice((CommitFault.KEPT, CommitFault.DROPPED))
        return CommitFault.LOCKED if chance < 1 else unanswered

    def set_stop(self) -> None:
        """Stop the newest run."""
        self.stop.set()

    def load_rotations(self) -> list[Rotation]:
        """Every rotation of the journal, the oldest first."""
        with self.database.begin() as work:
            names = sorted({*self.names, *self.adopted})
            found = [rotation for name in names for rotation in work.journal.load_for(name)]
        return sorted(found, key=lambda rotation: (rotation.created_at, rotation.id))

    def is_live(self, value: SecretValue) -> bool:
        """Whether a value authenticates now."""
        return any(fake.value == value.reveal() for fake in self.pats.live_pats())

    def check_consumers(self, after: str) -> None:
        """I1: note when what consumers read is dead."""
        self.breaks += [f"{name} after {after}" for name in self.names if not self.is_served(name)]

    def is_served(self, name: str) -> bool:
        """Whether consumers read a live PAT."""
        versions = self.secrets.versions_of(self.location(name))
        return bool(versions) and versions[0].version.enabled and self.is_live(versions[0].value)

    def find_unserved(self) -> set[str]:
        """I1 now: whose consumers read a dead PAT although no person revoked or wrote anything of it."""
        return {name for name in self.names if not self.is_served(name)} - self.meddled

    def check_database(self) -> None:
        """I6 and I8: no value of a PAT anywhere in the database, and the audit chain verifies; conditions are true."""
        text = repr(self.database.snapshot())
        if any(fake.value in text for fake in self.pats.pats.values()):
            raise InvariantError("I6: the value of a PAT is in the database")
        check_log(self.database)
        with self.database.read() as reading:
            check_conditions(reading, self.policy, self.clock.now())

    def _lose_entry(self, listed: tuple[Pat, ...]) -> PatList:
        """A list that lags behind the mints and, in a tenth of the cases, lacks one more entry, and does not say so.

        In a twentieth one entry cannot be read.
        """
        shown = [pat for pat in listed if self.clock.now() - pat.valid_from >= self.lag]
        if shown and self.random.random() < self.gap_share:
            self.gaps += 1
            shown.pop(self.random.randrange(len(shown)))
        hidden = []
        if shown and self.random.random() < self.gap_share / 2:
            hidden.append(shown.pop(self.random.randrange(len(shown))).authorization_id)
        return PatList(shown, [self.random.choice((found, "")) for found in hidden])

    def _add_foreign(self) -> None:
        """A person's PAT that has nothing to do with ours."""
        fake = self.pats.add_pat(ACCOUNT, ORGANIZATION, "prod-deploy", "vso.release", self.clock.now() + LIFETIME)
        self.human_ids.add(fake.pat.authorization_id)

    def _add_managed(self, name: str) -> None:
        now = self.clock.now()
        start = now - timedelta(days=9)
        fake = self.pats.add_pat(ACCOUNT, ORGANIZATION, name, "vso.code", start + LIFETIME, valid_from=start)
        self.secrets.write_foreign(self.location(name), fake.value)
        record = ManagedPat(
            name=name,
            account=ACCOUNT,
            organization=ORGANIZATION,
            authorization_id=fake.pat.authorization_id,
            display_name=name,
            scope="vso.code",
            valid_from=fake.pat.valid_from,
            valid_to=fake.pat.valid_to,
            vault=VAULT,
            secret_name=f"contoso-{name}",
        )
        with self.database.begin() as work:
            work.inventory.add(record)


def make_policy() -> Policy:
    """Due under a third, two hours of overlap."""
    rule = Rule(
        "all", Match(), RuleAction.ROTATE, Threshold(share=1 / 3), None, OVERLAP, VAULT, "{organization}-{name}", False
    )
    return Policy((rule,), Guardrails(), "0" * 64)


class SeededEntropy:
    """Port Entropy from the run's seed."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness

    def make_id(self) -> str:
        """See the port."""
        return f"{self._random.getrandbits(128):032x}"

    def pick(self, low: int, high: int) -> int:
        """See the port."""
        return self._random.randint(low, high)


class MortalClock:
    """The world's clock; a dead process neither reads it nor waits."""

    def __init__(self, clock: FakeClock, life: Life) -> None:
        self._clock, self._life = clock, life

    def now(self) -> datetime:
        """See the port."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """See the port."""
        self._life.check()
        self._clock.sleep(seconds)


class MortalSignIn:
    """Always signed in."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def refresh(self, account: str) -> SignInStatus:
        """See the port."""
        self._life.check()
        return SignInStatus(account, "build-bot@contoso.com")

    def find_damage(self) -> None:
        """See the port."""


class MortalDatabase:
    """The world's database; a dead process commits nothing, and sometimes the database fails."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life = world, life

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        self._life.check()
        fault = self._world.pick_database_fault()
        if fault is CommitFault.LOCKED:
            raise fault.make_error()
        with self._world.database.begin() as work:
            yield work
            self._life.check()
            if fault is CommitFault.DROPPED:
                raise fault.make_error()
        if fault is CommitFault.KEPT:
            raise fault.make_error()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port."""
        self._life.check()
        with self._world.database.read() as reading:
            yield reading


class MortalPats:
    """The world's Azure DevOps. Every mutation is checked against the journal before it is let through."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life, self._inner = world, life, world.pats

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """See the port."""
        self._life.check()
        return self._inner.fetch_identity(account, organization)

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """See the port."""
        self._life.check()
        return self._inner.fetch_pats(account, organization, which)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """See the port."""
        self._life.check()
        return self._inner.fetch_pat(account, organization, authorization_id)

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """See the port."""
        self._life.check()
        return self._inner.verify(organization, value)

    def mint(self, account: str, organization: str, *, display_name: str, scope: str, valid_to: datetime) -> MintedPat:
        """See the port; I4: an open rotation says that just this would be asked for."""
        self._life.check()
        intents = [
            rotation
            for rotation in self._world.load_rotations()
            if rotation.display_name == display_name and rotation.planned_valid_to == valid_to
        ]
        if not intents:
            raise InvariantError(f"I4: mint of {display_name} until {valid_to} without an intent")
        try:
            return self._inner.mint(account, organization, display_name=display_name, scope=scope, valid_to=valid_to)
        finally:
            self._world.check_consumers(f"mint {display_name}")

    def revoke(self, account: str, organization: str, authorization_id: str) -> None:
        """See the port; I3, I4, I5: only what the journal says is ours to revoke, in a state that allows it."""
        self._life.check()
        if authorization_id in self._world.human_ids:
            raise InvariantError(f"I3: {authorization_id} is a person's and was to be revoked")
        intended = [
            rotation
            for rotation in self._world.load_rotations()
            if rotation.predecessor_id == authorization_id and rotation.overlap_until is not None
        ] + [
            rotation
            for rotation in self._world.load_rotations()
            if rotation.new_authorization_id == authorization_id
            and rotation.state in (RotationState.ABANDONING, RotationState.ABANDONED)
        ]
        if not intended:
            raise InvariantError(f"I4/I5: revoke of {authorization_id} without an intent or before the read-back")
        try:
            self._inner.revoke(account, organization, authorization_id)
        finally:
            self._world.check_consumers(f"revoke {authorization_id}")


class MortalSecrets:
    """The world's vault; I4 is checked before a write."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life, self._inner = world, life, world.secrets

    def prove_writable(self, location: SecretLocation, intent: dict[str, str]) -> SecretVersion | None:
        """See the port."""
        self._life.check()
        return self._inner.prove_writable(location, intent)

    def fetch_names(self, vault: str, account: str, tag: str) -> tuple[str, ...]:
        """See the port."""
        self._life.check()
        return self._inner.fetch_names(vault, account, tag)

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        self._life.check()
        return self._inner.fetch_latest(location)

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        self._life.check()
        return self._inner.fetch_version(location, version)

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        self._life.check()
        return self._inner.fetch_versions(location)

    def store(self, location: SecretLocation, value: SecretValue, *, expires_at: datetime, tags: dict[str, str]) -> str:
        """See the port; I4: its rotation meant to write it, or it was in this secret before and is put back."""
        self._life.check()
        writer = tags.get(ROTATION_TAG)
        rotations = self._world.load_rotations()
        is_meant = any(r.id == writer and (r.tried_store or r.secret_version) for r in rotations)
        if not is_meant and not any(value.same_as(old.value) for old in self._inner.versions_of(location)):
            raise InvariantError("I4: a write to the vault without an intent")
        try:
            return self._inner.store(location, value, expires_at=expires_at, tags=tags)
        finally:
            self._world.check_consumers("store")

    def disable(self, location: SecretLocation, version: str) -> None:
        """See the port."""
        self._life.check()
        self._inner.disable(location, version)
