"""The world that a simulated engine lives in, and the invariants that are checked at every mutation of it."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rotator.documents.status import StatusDocument, make_status_document
from rotator.domain.account import Account, Identity
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.job_run import RunTimes
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.secret_value import SecretValue
from rotator.domain.threshold import Threshold
from rotator.engine.context import RunContext, Services, Timing, Trust
from rotator.engine.log_checking import check_log
from rotator.engine.old_rotations import archive_rotations
from rotator.engine.status import status_from
from rotator.engine.stopping import make_stoppable
from rotator.engine.tags import INTENT_TAG, PREDECESSOR_TAG, ROTATION_TAG
from rotator.errors import DeniedError, SignInRequiredError, VerificationError
from rotator.ports.claims import Claim, Claims
from rotator.ports.clock import Clock
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.pat_service import MintedPat, PatFilter, PatList
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretVersion, StoredSecret, WrittenVersion
from rotator.ports.sign_in import SignInStatus
from tests.simulation.calendar import Calendar
from tests.simulation.crashing import Life
from tests.simulation.databases import MakeDatabase, make_memory
from tests.simulation.oracle import Oracle, Place
from tests.support.clock import START, FakeClock
from tests.support.engine import check_conditions
from tests.support.engine_fakes import CommitFault
from tests.support.fake_database import MemoryDatabase
from tests.support.fake_pat_service import FakePat, FakePatService
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.queueing import check_queue
from tests.support.stop import make_stop

ACCOUNT, ORGANIZATION, VAULT = "build-bot", "contoso", "https://contoso-kv.vault.azure.net"
ACCOUNTS = (
    Account(ACCOUNT, "build-bot@contoso.com", "contoso", (ORGANIZATION, "fabrikam")),
    Account("release-bot", "release-bot@contoso.com", "contoso", (ORGANIZATION, "fabrikam")),
)
STALE = 0.05
"""The share of reads of the vault, but for those by version id, that are one version old."""
OVERLAP, LIFETIME = timedelta(hours=2), timedelta(days=10)
OVERLAPS = (timedelta(0), timedelta(minutes=10), OVERLAP, timedelta(days=1))
SLOW = 6
"""How many times longer PATs live where consumers are slow."""
SLOW_OVERLAPS = (timedelta(days=3), timedelta(days=5), timedelta(days=10))
ROTATED_AT = 1 / 3
"""The share of its life that a PAT has left when it is due."""
NAMES = ("ci-build", "npm-feed")
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


SKEW_SHARE = 0.15
"""How many processes start on a host whose clock is wrong."""
SKEWS = tuple(
    timedelta(seconds=seconds)
    for seconds in (20, -45, 90, -600, 3601, -30 * 3600, 2 * 86400 + 1, 20 * 86400, 3650 * 86400 + 1, -400 * 86400)
)
FAULT_SHARE = 0.004
"""How many transactions find the database locked, and of how many the COMMIT is answered by nothing."""


LIKE_A_MARK = " #rot-0123456789abcdef"
"""What people may write at the end of a display name; rotator made it for nobody."""


class InvariantError(AssertionError):
    """The promise was broken."""


_MOST_INTENTS = 4
"""So many has the tag of a secret room for."""


class WatchedClock(FakeClock):
    """A clock whose every move lets the consumers be asked."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self.start = self.now()
        self.oracle: Oracle | None = None

    def sleep(self, seconds: float) -> None:
        """Move the time on, as if it was slept."""
        super().sleep(seconds)
        if self.oracle is not None:
            self.oracle.look()

    def advance(self, by: timedelta) -> None:
        """Move the time on."""
        super().advance(by)
        if self.oracle is not None:
            self.oracle.look()


@dataclass(frozen=True)
class Spot:
    """Where a ManagedPat belongs."""

    account: str = ACCOUNT
    organization: str = ORGANIZATION


@dataclass(frozen=True)
class SentMint:
    """A mint that was sent, for which rotation, when, and under which maximum of the organization."""

    rotation: Rotation
    at: datetime
    longest: timedelta | None


class World:
    """Azure DevOps, a vault and a database in memory, with two ManagedPats that are due, of one or two accounts.

    `spots` tells where each belongs. `human_ids` are PATs that a person made: the engine must not revoke them; in
    `made_by_people` they stay when they are adopted.
    `adopted` are the ManagedPats that a person has adopted, `renamed` are new names of
    others, `condemned` the PATs that a person names to be revoked,
    and `named` those that a person ever named so, whose revocation was requested: it may be repeated.
    `written` are the secrets that a person has written, `failed_by_database` the ManagedPats that a fault of the
    database kept the newest run from working on.
    `oracle` judges all of it from outside. `stop` is that of the newest run. `database_faults` counts how often the
    database failed a run; it does so no more once `is_database_sound`. `has_odd_entry`: every list holds a person's PAT
    that cannot be read, to the end. `denied` are organizations that let nobody in, `stuck` the ManagedPats whose row in
    the database somebody else has locked, to the end too.
    `tools` draws what people's tools do that take tags off or copy them; None where they have none.
    `unlisted` counts, by PAT, the lists of the newest run that hid it, `old_reads`, by secret, how many of the latest
    reads in a row were old.
    `daemon`: what works is a daemon, whose choices it makes, and not `rotator once`.
    `stretch`: PATs live so many times longer than elsewhere, so that there is room for an overlap of days.
    `sent` are the mints that were sent; `unwitnessed` those of them that no version of their secret can tell of: the
    secret did not exist yet, or its tag had no room beside four newer ones.
    `something_else` are versions of secrets that hold no PAT, `seen` those versions
    that a person was shown and gave up, `proven` the newest version when a rotation last proved that it may write.
    """

    def __init__(
        self,
        randomness: random.Random,
        names: tuple[str, ...] = NAMES,
        spots: tuple[Spot, ...] = (Spot(), Spot()),
        days_left: int = 3,
        make_database: MakeDatabase = make_memory,
        start: datetime = START,
        stretch: int = 1,
    ) -> None:
        self.random, self.stretch = randomness, stretch
        self.lifetime = stretch * LIFETIME
        self.tools: random.Random | None = None
        self.whims: random.Random | None = None
        self.was_refused = False
        self.edited: set[str] = set()
        self.something_else: set[str] = set()
        self.seen: set[str] = set()
        self.proven: dict[Place, str | None] = {}
        self.names = names
        self.days_left = days_left
        self.spots = dict(zip(names, spots, strict=False))
        self.clock = WatchedClock(start)
        self.pats = FakePatService(self.clock)
        self.secrets = FakeSecretStore(self.clock)
        self.database = make_database(self.clock.now, self.clock)
        self.policy = make_policy()
        self._owners: dict[str, str] = {}
        self.human_ids: set[str] = set()
        self.made_by_people: set[str] = set()
        self.sent: list[SentMint] = []
        self.unwitnessed: list[SentMint] = []
        self.adopted: set[str] = set()
        self.renamed: set[str] = set()
        self.condemned: set[str] = set()
        self.named: set[str] = set()
        self.denied: set[str] = set()
        self.stuck: set[str] = set()
        self.written: set[str] = set()
        self.oracle = Oracle(self)
        self.clock.oracle = self.oracle
        self.marker_key: SecretValue | None = None
        self.trust: Trust | None = None
        self.restored = False
        self.failed_by_database: set[str] = set()
        self.database_faults = self.skews = 0
        self.are_clocks_right = self.is_database_sound = False
        has_clock = randomness.random() < 0.5
        if isinstance(self.database, MemoryDatabase):  # a real one has a clock, or has none
            self.database.clocks.has_clock = has_clock
        self.runs = self.gaps = 0
        self.stop = make_stop(self.clock)
        self.host = HostClock(self.clock, timedelta(0))
        self.calendar: Calendar | None = None
        self.set_policy(self.policy)
        self._odd = self._add_foreign()
        for name in names:
            self._add_managed(name)
        self.note_adopted()
        self.oracle.look()
        self.daemon: random.Random | None = None
        self.has_odd_entry = False
        self.unlisted = Counter[str]()
        self.old_reads = Counter[Place]()
        self.gap_share, self.lag = 0.1, timedelta(minutes=randomness.choice((0, 0, 1, 10)))
        self.pats.change_listed = self._change_listed
        self.ignored, self.ignored_share = 0, randomness.choice((0.0, 0.2))
        self.pats.ignores_revoke = self._ignore_revoke
        self.secrets.is_stale = lambda: randomness.random() < STALE
        self.ignored_stores, self._was_store_ignored = 0, False
        self._chance: random.Random | None = None

    def disturb(self, chance: random.Random) -> None:
        """From now on hosts are disturbed, and in half of the histories a fifth of the writes to the vault do nothing.

        They are answered as done; never two in a row once the faults have ended.
        """
        self._chance, share = chance, chance.choice((0.0, 0.2))

        def ignores() -> bool:
            is_spared = self.are_clocks_right and self._was_store_ignored
            self._was_store_ignored = not is_spared and chance.random() < share
            self.ignored_stores += self._was_store_ignored
            return self._was_store_ignored

        self.secrets.ignores_store = ignores

    def has_whim(self, share: float) -> bool:
        """Whether a service errs now, in the histories in which they do: until the faults end."""
        return self.whims is not None and not self.are_clocks_right and self.whims.random() < share

    def location(self, name: str) -> SecretLocation:
        """Where a ManagedPat's value is."""
        spot = self.spots[name]
        return SecretLocation(VAULT, f"{spot.organization}-{name}", spot.account)

    @property
    def overlaps(self) -> tuple[timedelta, ...]:
        """What people choose overlaps from."""
        return OVERLAPS if self.stretch == 1 else (timedelta(0), OVERLAP, *SLOW_OVERLAPS)

    def span(self, days: float) -> timedelta:
        """So many days in the life of a PAT; more where lives are longer."""
        return timedelta(days=days) * self.stretch

    def set_policy(self, policy: Policy) -> None:
        """Change the policy; a run that goes on keeps the one that it was started with."""
        self.policy = policy
        self.oracle.overlap = policy.rules[0].overlap
        if self.calendar is not None:
            self.calendar.overlaps.append((self.clock.now(), self.oracle.overlap))

    def change_rule(self, *, overlap: timedelta, disable_previous: bool, lifetime: timedelta | None = None) -> None:
        """Change what the one rule says."""
        rule = replace(self.policy.rules[0], overlap=overlap, disable_previous=disable_previous, lifetime=lifetime)
        self.set_policy(replace(self.policy, rules=(rule,)))

    def adopt_by_rule(self) -> None:
        """Let the one rule ask for every new PAT that it matches."""
        self.set_policy(replace(self.policy, rules=(replace(self.policy.rules[0], adopt=True),)))

    def keep_to(self, calendar: Calendar | None) -> None:
        """Let the one rule have its windows and change freezes; without a calendar nothing is held back."""
        self.calendar = calendar
        if calendar is not None:
            overlap = calendar.draw_overlap(self.policy.rules[0].overlap, self.stretch)
            rule = replace(self.policy.rules[0], timetable=calendar.make_timetable(), overlap=overlap)
            self.set_policy(replace(self.policy, rules=(rule,)))

    # What the oracle sees.

    def now(self) -> datetime:
        """See `ShownWorld`."""
        return self.clock.now()

    def show_places(self) -> Iterable[Place]:
        """See `ShownWorld`."""
        return list(self.secrets._secrets)

    def show_newest(self, place: Place) -> tuple[str, str | None] | None:
        """See `ShownWorld`."""
        secret = self.secrets._secrets[place]
        if secret.deleted or not secret.versions:
            return None
        newest = secret.versions[-1]
        return newest.version.version, newest.value.reveal() if newest.version.enabled else None

    def show_owner(self, value: str) -> str | None:
        """See `ShownWorld`."""
        if len(self._owners) < len(self.pats.pats):
            self._owners = {fake.value: found for found, fake in self.pats.pats.items()}
        return self._owners.get(value)

    def show_end(self, authorization_id: str) -> datetime:
        """See `ShownWorld`."""
        fake = self.pats.pats[authorization_id]
        return LONG_AGO if fake.revoked else fake.pat.valid_to

    def show_dates(self, authorization_id: str) -> tuple[datetime, datetime]:
        """See `ShownJournal`."""
        pat = self.pats.pats[authorization_id].pat
        return pat.valid_from, pat.valid_to

    def show_live(self) -> Iterable[str]:
        """See `ShownWorld`."""
        return [fake.pat.authorization_id for fake in self.pats.live_pats()]

    def lose_knowledge(self) -> None:
        """Tell the oracle what no database knows any more: which PATs of people were adopted, and whose secrets are.

        And which PATs were minted while nothing but the lost database could tell of them.
        """
        with self.database.read() as reading:
            records = reading.inventory.load_all()
            known = reading.journal.find_known([mint.rotation.id for mint in self.unwitnessed])
        recorded, places = {pat.authorization_id for pat in records}, {(pat.vault, pat.secret_name) for pat in records}
        lost = self.made_by_people - recorded
        for mint in self.unwitnessed:
            rotation = mint.rotation
            if rotation.id not in known:
                longest = self.pats.organizations[rotation.organization].max_lifetime  # for a mint that came late
                lost |= {
                    fake.pat.authorization_id
                    for fake in self.pats.live_pats(rotation.display_name)
                    if fake.pat.valid_to == rotation.planned_valid_to
                    or (fake.pat.lifetime in (longest, mint.longest) and fake.pat.valid_from >= mint.at)
                }
        self.oracle.note_lost(lost, [place for place in self.show_places() if place not in places])

    def note_sent(self, rotation: Rotation) -> None:
        """Note a mint that is sent, and of which mints no version of its secret tells, now or any more."""
        versions = self.secrets.versions_of(SecretLocation(rotation.vault, rotation.secret_name, rotation.account))
        tags = [stored.version.tags.get(INTENT_TAG, "").split() for stored in versions]
        mint = SentMint(rotation, self.clock.now(), self.pats.organizations[rotation.organization].max_lifetime)
        self.sent.append(mint)
        if not versions:
            self.unwitnessed.append(mint)
        if any(len(intents) == _MOST_INTENTS for intents in tags):
            told = {intent.split(":")[0] for intents in tags for intent in intents}
            beside = [mint for mint in self.sent if mint.rotation.secret_name == rotation.secret_name]
            self.unwitnessed += [mint for mint in beside if mint.rotation.id not in told]

    def note_edited(self) -> None:
        """Tell the oracle which PATs people edited that no record and no rotation names."""
        with self.database.read() as reading:
            recorded = {pat.authorization_id for pat in reading.inventory.load_all()}
        named = {rotation.new_authorization_id for rotation in self.load_rotations()}
        self.oracle.note_edited(self.edited - recorded - named)

    def show_status(self) -> StatusDocument:
        """The JSON of `rotator status`."""
        now = self.clock.now()
        return make_status_document(
            status_from(self.database, self.policy, now, settle=Timing().settle, lease=Timing().lease),
            [],
            now,
            RunTimes(),
        )

    # What people do.

    def add_human(
        self, spot: Spot, display_name: str, scope: str, valid_to: datetime, *, valid_from: datetime | None = None
    ) -> FakePat:
        """A PAT that a person makes."""
        fake = self.pats.add_pat(spot.account, spot.organization, display_name, scope, valid_to, valid_from=valid_from)
        self.human_ids.add(fake.pat.authorization_id)
        self.made_by_people.add(fake.pat.authorization_id)
        self.oracle.note_person_made(fake.pat.authorization_id)
        return fake

    def load_record(self, name: str) -> ManagedPat | None:
        """What the inventory says."""
        with self.database.read() as reading:
            return reading.inventory.load(name)

    def is_written_by_hand(self, name: str) -> bool:
        """Whether a person has written the secret of that record, under whatever name it had then."""
        record = self.load_record(name)
        return record is not None and record.secret_name in self.written

    def load_fleeting(self, pause: timedelta) -> list[ManagedPat]:
        """What a person has adopted although its rule begins a rotation with less than an overlap and a pause to go."""
        with self.database.read() as reading:
            adopted = [pat for pat in reading.inventory.load_all() if pat.name in self.adopted]
        return [pat for pat in adopted if (pat.valid_to - pat.valid_from) * ROTATED_AT < self.oracle.overlap + pause]

    def find_brief(self, pause: timedelta) -> list[str]:
        """The PATs in use that live less than two overlaps with a pause each, as a known maximum made them."""
        with self.database.read() as reading:
            limits, records = reading.limits.load(), reading.inventory.load_all()
        least = 2 * (self.oracle.overlap + pause)
        longest = {place: limit.longest for place, limit in limits.items() if limit.longest < least}
        none = timedelta(0)
        return [p.authorization_id for p in records if p.lifetime <= longest.get((p.account, p.organization), none)]

    def find_newest(self, location: SecretLocation) -> str | None:
        """The id of a secret's newest version."""
        versions = self.secrets.versions_of(location)
        return versions[0].version.version if versions else None

    def note_adopted(self) -> int:
        """Note which PATs persons have adopted; they may be rotated, and so revoked, from now on. Return how many."""
        with self.database.read() as reading:
            records = reading.inventory.load_all()
        handed = [record for record in records if not record.taken_over]
        self.human_ids -= {record.authorization_id for record in handed}
        self.oracle.note_managed({pat.authorization_id: (pat.vault, pat.secret_name) for pat in handed})
        places = {self.location(name).name for name in self.names}
        strange = {record.name for record in records if record.name not in {*self.names, *self.adopted}}
        self.renamed |= {record.name for record in records if record.name in strange and record.secret_name in places}
        new = strange - self.renamed
        self.adopted |= new
        return len(new)

    def note_taken_over(self) -> int:
        """Note what rules have taken over: no person handed those PATs over. Return how many are new."""
        with self.database.read() as reading:
            found = {pat.name for pat in reading.inventory.load_all() if pat.taken_over}
            rotations = (*reading.journal.load_open(), *reading.journal.load_leaving(LONG_AGO))
        new = (found | {rotation.name for rotation in rotations if rotation.keeps_predecessor}) - self.adopted
        self.adopted |= new
        return len(new)

    def make_run(self, life: Life, *, is_person: bool = False) -> RunContext:
        """A run as one process would have it; `stop` and `host` stay those of the newest run that no person began."""
        self.runs += 1
        life.is_person = is_person
        if self.calendar is not None and is_person:
            self.calendar.persons.add(f"run-{self.runs}")
        life.began_at, life.overlap = self.clock.now(), self.policy.rules[0].overlap
        host = HostClock(self.clock, self.pick_skew())
        self._disturb_host(host)
        database = MortalDatabase(self, life, host)
        stop = make_stop(MortalClock(self.clock, life))
        self.unlisted.clear()
        self.was_refused = False
        self.stop, self.host = (self.stop, self.host) if is_person else (stop, host)
        services = Services(
            database=database,
            closing_database=database,
            pats=MortalPats(self, life),
            secrets=MortalSecrets(self, life),
            sign_in=MortalSignIn(self, life),
            clock=host,
            boot=self.clock,
            witnesses=MortalWitnesses(self.clock, self._draw_wrong_date(), host),
            stop=stop,
            entropy=SeededEntropy(self.random),
            accounts=ACCOUNTS,
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

    def _draw_wrong_date(self) -> dict[str, timedelta]:
        """In some runs one service's clock is wrong, by its `Date`: then what cannot wait is reckoned by that too."""
        if self.whims is None or not self.has_whim(0.15):
            return {}
        if self.calendar is not None:
            self.calendar.persons.add(f"run-{self.runs}")
        return {self.whims.choice(("azure_devops", "key_vault")): self.whims.choice(SKEWS)}

    def archive_old(self) -> int:
        """Let the rotations that are old by now leave the journal, and return how many. It draws nothing."""
        services = Services(
            database=self.database,
            closing_database=self.database,
            pats=self.pats,
            secrets=self.secrets,
            sign_in=MortalSignIn(self, Life()),
            clock=self.clock,
            boot=self.clock,
            witnesses=MortalWitnesses(self.clock),
            stop=make_stop(self.clock),
            entropy=SeededEntropy(self.random),
            accounts=ACCOUNTS,
            timing=Timing(),
            max_parallel=1,
        )
        run = RunContext(services, self.policy, "job", "job", "job", progress=lambda event, subject: None)
        return archive_rotations(run, timedelta(0))

    def _disturb_host(self, host: HostClock) -> None:
        """A tenth of the processes run in another boot; for some the clock is set wrong in the middle of the run."""
        if self._chance is None:
            return
        if self._chance.random() < 0.1:
            self.clock.reboot()
        if not self.are_clocks_right and self._chance.random() < 0.1:
            self.skews += 1
            host.set_wrong(self._chance.choice(SKEWS), self._chance.randint(5, 80))

    def pick_skew(self) -> timedelta:
        """How far the clock of the host is ahead on which a process starts now."""
        if self.are_clocks_right or self.random.random() > SKEW_SHARE:
            return timedelta(0)
        self.skews += 1
        return self.random.choice(SKEWS)

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

    def make_break(self, what: str) -> InvariantError:
        """Note a broken promise, whoever catches the error that it returns."""
        self.oracle.breaks.append(what)
        return InvariantError(what)

    def set_stop(self) -> None:
        """Stop the newest run."""
        self.stop.set()

    def is_named_again(self, authorization_id: str) -> bool:
        """Whether a person named that PAT to be revoked, and the database says that this is requested once more."""
        with self.database.read() as reading:
            repeated = {item.authorization_id for item in reading.revocations.load() if item.requests > 1}
        return authorization_id in self.named & repeated

    def load_rotations(self) -> list[Rotation]:
        """Every rotation of the journal, the oldest first."""
        return self.database.list_rotations()

    def is_live(self, value: SecretValue) -> bool:
        """Whether a value authenticates now."""
        return any(fake.value == value.reveal() for fake in self.pats.live_pats())

    def check_queue(self) -> None:
        """Nothing may be entered into the queue later than a run has something to do with it."""
        with self.database.read() as reading:
            self.oracle.breaks += check_queue(reading, self.policy, Timing().settle, self.clock.now())

    def check_calendar(self) -> None:
        """Runs kept to the windows, to the change freezes, and to the pauses of everything."""
        if self.calendar is not None:
            with self.database.read() as reading:
                log = list(reading.audit.load_after(None, sys.maxsize))
            self.oracle.breaks += self.calendar.judge(log, self)

    def check_database(self) -> None:
        """I6 and I8: no value of a PAT anywhere in the database, and the audit chain verifies; conditions are true."""
        text = repr(self.database.snapshot())
        if any(fake.value in text for fake in self.pats.pats.values()):
            raise InvariantError("I6: the value of a PAT is in the database")
        check_log(self.database, trust=self.trust)
        with self.database.read() as reading:
            check_conditions(reading, self.policy, self.clock.now())

    @property
    def spoiled(self) -> set[str]:
        """The ManagedPats that nothing can be done with, also by the name that a person has given them since."""
        denied = {name for name, spot in self.spots.items() if spot.organization in self.denied}
        places = {self.location(name).name for name in denied}
        with self.database.read() as reading:
            renamed = {pat.name for pat in reading.inventory.load_all() if pat.secret_name in places}
        return self.stuck | denied | renamed

    def spoil(self) -> None:
        """Let the second ManagedPat be one with which nothing can be done, to the end: the first must not suffer."""
        name = self.names[-1]
        if self.spots[name].organization != self.spots[self.names[0]].organization:
            self.denied.add(self.spots[name].organization)
        else:
            self.stuck.add(name)
        location = self.location(name)
        self.oracle.note_neglected((location.vault, location.name))

    def make_calm(self) -> None:
        """Lists are whole from now on, but for an odd entry, and the database fails no more."""
        self.gap_share, self.lag = 0.0, timedelta(0)
        self.is_database_sound = self.are_clocks_right = True

    def _change_listed(self, listed: tuple[Pat, ...]) -> PatList:
        """A list that lags behind the mints and, in a tenth of the cases, lacks one more entry, and does not say so.

        In a twentieth one entry cannot be read.
        """
        odd = self._odd if self.has_odd_entry else ""
        now = self.clock.now()
        shown = [pat for pat in listed if now - pat.valid_from >= self.lag and pat.authorization_id != odd]
        hidden = [odd] if odd and odd in {pat.authorization_id for pat in listed} else []
        if self.gap_share:
            if shown and self.random.random() < self.gap_share:
                self.gaps += 1
                self.unlisted[shown.pop(self.random.randrange(len(shown))).authorization_id] += 1
            if shown and self.random.random() < self.gap_share / 2:
                found = shown.pop(self.random.randrange(len(shown))).authorization_id
                self.unlisted[found] += 1
                hidden.append(self.random.choice((found, "")))
        return PatList(shown, hidden)

    def _ignore_revoke(self, authorization_id: str) -> bool:
        """Whether a revocation is answered as done and does nothing: a fifth of them, in half of the histories."""
        is_ignored = self.ignored_share > 0 and self.random.random() < self.ignored_share
        self.ignored += is_ignored
        return is_ignored

    def _add_foreign(self) -> str:
        """A person's PAT that has nothing to do with ours; its id."""
        fake = self.add_human(Spot(), "prod-deploy", "vso.release", self.clock.now() + self.lifetime)
        return fake.pat.authorization_id

    def _add_managed(self, name: str) -> None:
        now, spot, location = self.clock.now(), self.spots[name], self.location(name)
        start = now + self.span(self.days_left) - self.lifetime
        shown = name if self.random.random() < 0.8 else f"{name}{LIKE_A_MARK} #rot-fedcba9876543210"
        end = start + self.lifetime
        fake = self.pats.add_pat(spot.account, spot.organization, shown, "vso.code", end, valid_from=start)
        self.oracle.note_person_made(fake.pat.authorization_id)
        if self.days_left < 2:
            self.oracle.note_short(fake.pat.authorization_id)
        confirmed = self.secrets.write_foreign(location, fake.value)
        record = ManagedPat(
            name=name,
            account=spot.account,
            organization=spot.organization,
            authorization_id=fake.pat.authorization_id,
            display_name=shown,
            scope="vso.code",
            valid_from=fake.pat.valid_from,
            valid_to=fake.pat.valid_to,
            vault=VAULT,
            secret_name=location.name,
            confirmed_version=confirmed,
        )
        self._manage(record)

    def _manage(self, record: ManagedPat) -> None:
        """Put it into the inventory, without an event."""
        with self.database.begin() as work:
            work.inventory.add(record)


def make_policy() -> Policy:
    """Due under a third, two hours of overlap."""
    rule = Rule(
        "all",
        Match(),
        RuleAction.ROTATE,
        Threshold(share=ROTATED_AT),
        None,
        OVERLAP,
        VAULT,
        "{organization}-{name}",
        False,
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


class HostClock:
    """Port Clock of one host: the true time and how far it is ahead; in a third of the wrong ones it is set right."""

    def __init__(self, clock: Clock, ahead: timedelta) -> None:
        self._clock, self._ahead = clock, ahead
        self._set_right_after = 40 if ahead.seconds % 2 else None
        self._wrong_after: tuple[int, timedelta] | None = None
        self._reads = 0

    @property
    def is_wrong(self) -> bool:
        """Whether what was read last is further off than a run may believe."""
        return abs(self._find_ahead()) > MOST_SKEW

    def is_wrong_by(self, ahead: timedelta) -> bool:
        """Whether it is ahead by just that much, as far as anybody may tell."""
        return abs(self._find_ahead() - ahead) <= MOST_SKEW

    def set_wrong(self, ahead: timedelta, after: int) -> None:
        """Let it be so far ahead once it was read so often."""
        self._wrong_after = (after, ahead)

    def now(self) -> datetime:
        """See the port."""
        self._reads += 1
        return self._clock.now() + self._find_ahead()

    def _find_ahead(self) -> timedelta:
        if self._wrong_after is not None and self._reads > self._wrong_after[0]:
            return self._wrong_after[1]
        if self._set_right_after is not None and self._reads > self._set_right_after:
            return timedelta(0)
        return self._ahead


class MortalWitnesses:
    """Port Witnesses: the services' clocks, each right or `ahead`, but never by what the host is ahead, too.

    Two that are wrong alike are believed: a limit in docs/promise.md.
    """

    def __init__(
        self, clock: FakeClock, ahead: Mapping[str, timedelta] | None = None, host: HostClock | None = None
    ) -> None:
        self._clock, self._ahead, self._host = clock, ahead or {}, host

    def read_witnesses(self) -> dict[str, datetime]:
        """See the port."""
        now = self._clock.now()
        return {service: now + self._find_ahead(service) for service in ("azure_devops", "key_vault")}

    def _find_ahead(self, service: str) -> timedelta:
        ahead = self._ahead.get(service, timedelta(0))
        return timedelta(0) if self._host is not None and self._host.is_wrong_by(ahead) else ahead

    def forget(self, services: Collection[str]) -> None:
        """See the port. They answer again at once."""


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
    """Signed in, unless Azure DevOps says otherwise."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life = world, life

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """See the port."""
        self._life.check()
        if account in self._world.pats.signed_out:
            raise SignInRequiredError(f"{account} must sign in again", account=account, fix="Sign in.")
        return SignInStatus(account, f"{account}@contoso.com")

    def status(self, account: str) -> SignInStatus:
        """See the port: another sign-in whenever a person signed in."""
        generation = "out" if account in self._world.pats.signed_out else "in"
        return SignInStatus(account, f"{account}@contoso.com", generation=generation)

    def find_unsaved(self) -> None:
        """See the port."""

    def find_saved_at(self) -> None:
        """See the port."""

    def find_damage(self) -> None:
        """See the port."""


class MortalDatabase:
    """The world's database; a dead process commits nothing, and sometimes the database fails."""

    def __init__(self, world: World, life: Life, host: HostClock) -> None:
        self._world, self._life, self._host = world, life, host
        self._database = world.database.open()

    def _tell_time(self) -> None:
        """A file has no clock but the host's of whoever opens it; a server has one of its own, which is right."""
        clocks = self._world.database.clocks
        clocks.host_now = self._world.clock.now if clocks.has_clock else self._host.now
        self._world.database.tell_time()

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        self._life.check()
        fault = self._world.pick_database_fault()
        if fault is CommitFault.LOCKED:
            raise fault.make_error()
        if fault is not None and self._world.database.cut_commit(keep=fault is CommitFault.KEPT):
            fault = None  # the connection really breaks
        with self._database.begin() as work:
            self._tell_time()
            work.claims = StuckClaims(work.claims, self._world.stuck)
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
        with self._database.read() as reading:
            self._tell_time()
            yield reading


class StuckClaims:
    """Claims of which some wait in vain for a row that somebody has locked."""

    def __init__(self, inner: Claims, stuck: set[str]) -> None:
        self._inner, self._stuck = inner, stuck

    def find_held(self, names: Collection[str], *, now: datetime, span: timedelta) -> frozenset[str]:
        """See the port."""
        return self._inner.find_held(names, now=now, span=span)

    def load_all(self) -> tuple[Claim, ...]:
        """See the port."""
        return self._inner.load_all()

    def find_next_over(self, *, now: datetime, span: timedelta, name: str | None = None) -> timedelta | None:
        """See the port."""
        return self._inner.find_next_over(now=now, span=span, name=name)

    def claim(self, name: str, claimant: str, *, now: datetime, span: timedelta) -> Claim:
        """See the port."""
        if name in self._stuck:
            raise CommitFault.LOCKED.make_error()
        return self._inner.claim(name, claimant, now=now, span=span)

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """See the port."""
        return self._inner.renew(claim, now=now, span=span)

    def keep_sights(self, *, now: datetime) -> None:
        """See the port."""
        self._inner.keep_sights(now=now)

    def release(self, claim: Claim) -> bool:
        """See the port."""
        return self._inner.release(claim)


class MortalPats:
    """The world's Azure DevOps. Every mutation is checked against the journal before it is let through."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life, self._inner = world, life, world.pats

    def _check_allowed(self, operation: str, organization: str) -> None:
        if organization in self._world.denied:
            told = f"{organization} lets nobody in"
            raise DeniedError(told, service="azure_devops", operation=operation, status=403, code="forbidden")

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """See the port."""
        self._life.check()
        self._check_allowed("fetch_identity", organization)
        return self._inner.fetch_identity(account, organization)

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """See the port."""
        self._life.check()
        self._check_allowed("fetch_pats", organization)
        return self._inner.fetch_pats(account, organization, which)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """See the port."""
        self._life.check()
        self._check_allowed("fetch_pat", organization)
        if self._world.has_whim(0.04):
            return None
        return self._inner.fetch_pat(account, organization, authorization_id)

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """See the port; I6: what is no PAT is sent to nobody."""
        self._life.check()
        owner = self._world.show_owner(value.reveal())
        if owner is None:
            raise self._world.make_break("I6: a value that is no PAT was sent to Azure DevOps")
        if self._world.has_whim(0.04):
            self._world.was_refused = True
            raise VerificationError("Azure DevOps refused a PAT, whether it lives or not", fix="Wait.")
        is_let_in = self._inner.pats[owner].revoked and self._world.has_whim(0.4)
        self._inner.lingering = {owner} if is_let_in else set()
        return self._inner.verify(organization, value)

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
        """See the port; I4: an open rotation says that just this would be asked for."""
        self._life.check()
        intents = [
            rotation
            for rotation in self._world.load_rotations()
            if rotation.display_name == display_name and rotation.planned_valid_to == valid_to
        ]
        if not intents:
            raise self._world.make_break(f"I4: mint of {display_name} until {valid_to} without an intent")
        for rotation in intents:
            self._world.note_sent(rotation)
        try:
            return self._inner.mint(
                account, organization, display_name=display_name, scope=scope, valid_to=valid_to, permit=permit
            )
        finally:
            self._world.oracle.look()

    def revoke(self, account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        """See the port; I3, I4, I5: only what the journal says is ours to revoke, in a state that allows it."""
        self._life.check()
        if authorization_id in self._world.condemned:
            self._world.oracle.note_revoked(authorization_id)
            self._world.named.add(authorization_id)
        self._world.oracle.note_revocation(authorization_id)
        is_named = authorization_id in self._world.condemned or self._world.is_named_again(authorization_id)
        if authorization_id in self._world.human_ids and not is_named:
            raise self._world.make_break(f"I3: {authorization_id} is a person's and was to be revoked")
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
        for rotation in intended:
            place = (rotation.vault, rotation.secret_name)
            if self._world.old_reads[place] > 1 and rotation.secret_name in self._world.written:
                self._world.oracle.note_doomed(place, authorization_id)
        if not intended and not is_named:
            told = f"I4/I5: revoke of {authorization_id} without an intent or before the read-back"
            raise self._world.make_break(told)
        try:
            return self._inner.revoke(account, organization, authorization_id, permit=permit)
        finally:
            if authorization_id in self._inner._late_revokes:
                self._world.oracle.note_unanswered(authorization_id)
            self._world.oracle.look()


class MortalSecrets:
    """The world's vault; I4 is checked before a write."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life, self._inner = world, life, world.secrets

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """See the port."""
        self._life.check()
        newest = self._inner.prove_writable(location, intent, permit=permit)
        self._world.proven[location.vault, location.name] = newest.version if newest is not None else None
        return newest

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """See the port."""
        self._life.check()
        return self._inner.prove_access(location)

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """See the port."""
        self._life.check()
        return self._inner.fetch_tagged(vault, account, tag)

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """See the port."""
        self._life.check()
        found = self._inner.fetch_latest(location)
        self._note_read(location, None if found is None else found.version.version)
        return found

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """See the port."""
        self._life.check()
        return self._inner.fetch_version(location, version)

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """See the port."""
        self._life.check()
        found = self._inner.fetch_versions(location)
        self._note_read(location, found[0].version if found else None)
        return found

    def _note_read(self, location: SecretLocation, version: str | None) -> None:
        place, is_old = (location.vault, location.name), version != self._world.find_newest(location)
        self._world.old_reads[place] = self._world.old_reads[place] + 1 if is_old else 0

    def store(
        self,
        location: SecretLocation,
        value: SecretValue,
        *,
        expires_at: datetime | None,
        tags: dict[str, str],
        permit: Permit,
    ) -> WrittenVersion:
        """See the port; I4: its rotation meant to write it, or it was in this secret before and is put back.

        I9: what somebody else keeps there is not written over, unless it came after the look or a person gave it up.
        """
        self._life.check()
        newest = self._world.find_newest(location)
        is_kept = newest in self._world.something_else - self._world.seen
        if is_kept and newest == self._world.proven.get((location.vault, location.name)):
            raise self._world.make_break(f"I9: what somebody else keeps in {location.name} was written over")
        writer = tags.get(ROTATION_TAG)
        rotations = self._world.load_rotations()
        is_meant = any(r.id == writer and (r.tried_store or r.secret_version) for r in rotations)
        if not is_meant and not any(value.same_as(old.value) for old in self._inner.versions_of(location)):
            raise self._world.make_break("I4: a write to the vault without an intent")
        place, now = (location.vault, location.name), self._world.clock.now()
        span = self._life.overlap
        is_overruled = self._life.is_person or newest in self._world.seen or newest != self._world.proven.get(place)
        self._world.oracle.note_replacement(place, tags.get(PREDECESSOR_TAG, ""), is_overruled=is_overruled)
        self._world.oracle.note_send(
            place, value.reveal(), self._life.decided_at or now, self._life.began_at or now, span
        )
        try:
            return self._inner.store(location, value, expires_at=expires_at, tags=tags, permit=permit)
        finally:
            self._world.oracle.look()

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """See the port."""
        self._life.check()
        try:
            return self._inner.disable(location, version, permit=permit)
        finally:
            self._world.oracle.look()
