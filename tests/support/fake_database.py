"""The database port in memory: deterministic, quick, and held to the same contract suite as the real ones."""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta

from rotator.adapters.database.claims import Bindings, Held, Judge, make_held, make_lost, make_missing
from rotator.adapters.database.inventory import make_conflict, order_untracked
from rotator.adapters.database.job_runs import may_begin
from rotator.adapters.database.journal import make_open_already, make_unknown
from rotator.adapters.database.outbox import may_claim
from rotator.adapters.database.queue import order_due
from rotator.adapters.database.revocations import order_pending
from rotator.adapters.database.watch import Bond, ClaimsWatch, Sights
from rotator.domain.audit_event import AuditEntry, AuditEvent, make_event
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.clocks import BootMoment
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.delivery import Delivery, Receiver
from rotator.domain.hook import HookCall
from rotator.domain.job_run import KEPT_FOR, Failures, Heartbeat, JobName, JobOutcome, JobRun
from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.next_step import LONG_AGO
from rotator.domain.organization import OrganizationMemory
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.probe import Probe
from rotator.domain.request_count import RequestCounts, RequestOutcome
from rotator.domain.rotation import Rotation, RotationEnding, RotationState, Trace
from rotator.domain.sign_in import SignInMemory
from rotator.domain.throttle import ThrottleHold
from rotator.domain.verified_log import VerifiedLog
from rotator.errors import AuditChainError, DatabaseError, DatabaseLockedError
from rotator.ports.audit_log import EVERY_EVENT, AuditFilter, AuditLog, AuditLogReader
from rotator.ports.checkpoints import Checkpoints, CheckpointsReader
from rotator.ports.claims import Claim, Claims, ClaimsReader
from rotator.ports.clock import BootClock
from rotator.ports.conditions import Conditions, ConditionsReader
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.inventory import Inventory, InventoryReader, UntrackedPat
from rotator.ports.job_runs import JobRuns, JobRunsReader
from rotator.ports.journal import Journal, JournalReader
from rotator.ports.limits import LifetimeLimits, LifetimeLimitsReader
from rotator.ports.organizations import Organizations, OrganizationsReader
from rotator.ports.outbox import Outbox, OutboxReader
from rotator.ports.probes import Probes, ProbesReader
from rotator.ports.queue import Basis, Entry, Queue, QueueReader
from rotator.ports.request_counts import RequestCountsReader, RequestCountsWriter
from rotator.ports.revocations import Revocations, RevocationsReader
from rotator.ports.sign_ins import SignIns, SignInsReader
from rotator.ports.throttles import Throttles, ThrottlesReader


@dataclass
class Clocks:
    """What time it is: by the host or the server, whether that is the database's own clock, and by the boot clock.

    And the server's timeline, if it has one; and what a process that asks has seen of claims.
    """

    host_now: Callable[[], datetime]
    has_clock: bool = False
    timeline: str | None = None
    boot: BootClock | None = None
    watch: ClaimsWatch = field(default_factory=ClaimsWatch)

    def read_boot(self) -> BootMoment | None:
        """The moment of this boot, where there is a boot clock."""
        return None if self.boot is None else self.boot.read_boot()


@dataclass
class _Tables:
    """Everything that is stored. The values are immutable, so copying the containers is a snapshot."""

    pats: dict[str, ManagedPat] = field(default_factory=dict)
    claims: dict[str, Held] = field(default_factory=dict)
    rotations: dict[str, Rotation] = field(default_factory=dict)
    old: dict[str, Trace] = field(default_factory=dict)
    untracked: dict[tuple[str, str], tuple[Pat, ...]] = field(default_factory=dict)
    waits: dict[tuple[str, str, str], Failure] = field(default_factory=dict)
    limits: dict[tuple[str, str], LifetimeLimit] = field(default_factory=dict)
    conditions: dict[tuple[ConditionKind, str], Condition] = field(default_factory=dict)
    revocations: dict[str, PendingRevocation] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    job_runs: dict[tuple[JobName, datetime], JobRun] = field(default_factory=dict)
    receivers: dict[str, Receiver] = field(default_factory=dict)
    deliveries: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    deliverers: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    calls: dict[tuple[str, int], HookCall] = field(default_factory=dict)
    records_made: int = 0
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    requests: Counter[tuple[str, RequestOutcome]] = field(default_factory=Counter)
    sign_ins: dict[str, SignInMemory] = field(default_factory=dict)
    organizations: dict[tuple[str, str], OrganizationMemory] = field(default_factory=dict)
    throttles: dict[str, ThrottleHold] = field(default_factory=dict)
    sights: dict[tuple[str, str | None, str], tuple[Bond, timedelta]] = field(default_factory=dict)
    events: list[AuditEvent] = field(default_factory=list)
    spoiled: frozenset[int] = frozenset()
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    verified: VerifiedLog | None = None
    gone: set[str] = field(default_factory=set)
    is_audited: bool = field(default=False, compare=False)

    def check_order(self) -> None:
        """AssertionError after an event was written: then a transaction locks nothing more (see the real adapter)."""
        assert not self.is_audited, "a transaction that has written an event must not lock or write anything else"

    def copy(self) -> _Tables:
        return _Tables(
            dict(self.pats),
            dict(self.claims),
            dict(self.rotations),
            dict(self.old),
            dict(self.untracked),
            dict(self.waits),
            dict(self.limits),
            dict(self.conditions),
            dict(self.revocations),
            dict(self.entries),
            dict(self.probes),
            dict(self.job_runs),
            dict(self.receivers),
            dict(self.deliveries),
            dict(self.deliverers),
            dict(self.calls),
            self.records_made,
            dict(self.heartbeats),
            Counter(self.requests),
            dict(self.sign_ins),
            dict(self.organizations),
            dict(self.throttles),
            dict(self.sights),
            list(self.events),
            self.spoiled,
            dict(self.checkpoints),
            self.verified,
            self.gone,
        )

    def find_record(self, name: str) -> str | None:
        """The id of the record of that name."""
        pat = self.pats.get(name)
        return None if pat is None else pat.record_id

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is the current one."""
        pat, holder = self.pats.get(claim.name), self.claims.get(claim.name)
        return pat is not None and pat.epoch == claim.epoch and holder is not None and holder.claimant == claim.claimant


class _MemoryInventoryReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load_all(self) -> tuple[ManagedPat, ...]:
        return tuple(self._tables.pats[name] for name in sorted(self._tables.pats))

    def load(self, name: str) -> ManagedPat | None:
        return self._tables.pats.get(name)

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[ManagedPat, ...]:
        return tuple(pat for pat in self.load_all() if pat.has_pat and pat.authorization_id in authorization_ids)

    def find_names(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(name for name in names if name in self._tables.pats)

    def load_named(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        return tuple(pat for pat in self.load_all() if pat.name in names)

    def load_page(self, after: str, limit: int) -> tuple[ManagedPat, ...]:
        return tuple(itertools.islice((pat for pat in self.load_all() if pat.name > after), limit))

    def load_untracked(self) -> tuple[UntrackedPat, ...]:
        found = {
            (account, organization, pat.authorization_id): UntrackedPat(
                account, organization, pat, self._tables.waits.get((account, organization, pat.authorization_id))
            )
            for (account, organization), pats in self._tables.untracked.items()
            for pat in pats
        }
        return tuple(sorted(found.values(), key=order_untracked))


class _MemoryInventory(_MemoryInventoryReader):
    def load(self, name: str) -> ManagedPat | None:
        self._tables.check_order()
        return super().load(name)

    def add(self, pat: ManagedPat) -> None:
        self._tables.check_order()
        if pat.name in self._tables.pats:
            raise make_conflict(pat, self._tables.pats[pat.name])
        self._check_conflicts(pat)
        self._tables.records_made += 1
        record_id = f"record-{self._tables.records_made}"
        self._tables.pats[pat.name] = replace(pat, record_id=record_id)
        for found, rotation in self._tables.rotations.items():
            if rotation.name == pat.name and rotation.is_open and not rotation.has_record:
                self._tables.rotations[found] = replace(rotation, record_id=record_id)

    def save(self, pat: ManagedPat, claim: Claim) -> None:
        self._tables.check_order()
        if claim.name != pat.name or not self._tables.holds(claim):
            raise make_lost(claim)
        self._check_conflicts(pat)
        before = self._tables.pats[pat.name]
        self._tables.pats[pat.name] = replace(pat, epoch=before.epoch, record_id=before.record_id)

    def remove(self, name: str, claim: Claim) -> None:
        self._tables.check_order()
        if claim.name != name or not self._tables.holds(claim):
            raise make_lost(claim)
        record_id = self._tables.find_record(name)
        del self._tables.pats[name], self._tables.claims[name]
        self._tables.entries.pop(name, None)
        self._tables.probes.pop(record_id or "", None)
        for found, rotation in self._tables.rotations.items():
            if rotation.record_id == record_id:
                self._tables.rotations[found] = replace(rotation, record_id=None)
        for found, item in self._tables.revocations.items():
            if item.record_id == record_id:
                self._tables.revocations[found] = replace(item, record_id=None)

    def rename(self, name: str, new_name: str, claim: Claim) -> None:
        tables = self._tables
        tables.check_order()
        if claim.name != name or not tables.holds(claim):
            raise make_lost(claim)
        if new_name in tables.pats:
            raise make_conflict(tables.pats[new_name], tables.pats[new_name])
        del tables.claims[name]
        record_id = tables.find_record(name)
        tables.pats[new_name] = replace(tables.pats.pop(name), name=new_name)
        tables.entries[new_name] = tables.entries.pop(name, _NO_ENTRY)
        for found, rotation in tables.rotations.items():
            if rotation.record_id == record_id:
                tables.rotations[found] = replace(rotation, name=new_name)
        for found, pending in tables.revocations.items():
            if pending.record_id == record_id:
                tables.revocations[found] = replace(pending, name=new_name)

    def save_untracked(self, account: str, organization: str, pats: tuple[Pat, ...]) -> None:
        self._tables.check_order()
        self._tables.untracked[account, organization] = pats
        stay = {pat.authorization_id for pat in pats}
        self._keep_waits(lambda key: key[:2] != (account, organization) or key[2] in stay)

    def save_waits(self, account: str, organization: str, waits: Mapping[str, Failure]) -> None:
        self._tables.check_order()
        seen = {pat.authorization_id for pat in self._tables.untracked.get((account, organization), ())}
        self._keep_waits(lambda key: key[:2] != (account, organization))
        kept = {(account, organization, found): failure for found, failure in waits.items() if found in seen}
        self._tables.waits.update(kept)

    def _keep_waits(self, is_kept: Callable[[tuple[str, str, str]], bool]) -> None:
        self._tables.waits = {key: waits for key, waits in self._tables.waits.items() if is_kept(key)}

    def _check_conflicts(self, pat: ManagedPat) -> None:
        for other in self._tables.pats.values():
            same_id = pat.has_pat and (other.organization, other.authorization_id) == (
                pat.organization,
                pat.authorization_id,
            )
            same_place = other.place == pat.place
            if other.name != pat.name and (same_id or same_place):
                raise make_conflict(pat, other)


def _make_trace(rotation: Rotation) -> Trace:
    return Trace(**{field.name: getattr(rotation, field.name) for field in fields(Trace)})


class _MemoryJournalReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load_open(self) -> tuple[Rotation, ...]:
        return tuple(rotation for rotation in self._sorted() if rotation.is_open)

    def load_open_for(self, names: Collection[str]) -> tuple[Rotation, ...]:
        return tuple(rotation for rotation in self.load_open() if rotation.has_record and rotation.name in names)

    def load_for(self, name: str, *, since: datetime | None = None) -> tuple[Rotation, ...]:
        mine = (rotation for rotation in reversed(self._sorted()) if rotation.has_record and rotation.name == name)
        return tuple(rotation for rotation in mine if since is None or rotation.created_at >= since)

    def load_writers(self, place: str, named: Collection[str]) -> tuple[Trace, ...]:
        wanted, still_open = set(named), {rotation.id for rotation in self.load_open()}
        return tuple(
            trace
            for trace in reversed(self._list_traces())
            if trace.place == place
            and (trace.id in still_open or {trace.id, trace.secret_version, trace.new_authorization_id} & wanted)
        )

    def load_traces(self, authorization_ids: Collection[str]) -> tuple[Trace, ...]:
        wanted = set(authorization_ids)
        return tuple(t for t in self._list_traces() if {t.predecessor_id, t.new_authorization_id} & wanted)

    def load_past(self, changed: datetime, ended: datetime, after: str, limit: int) -> tuple[Trace, ...]:
        def is_past(it: Rotation) -> bool:
            ends = (it.planned_valid_to, it.new_valid_to, it.predecessor_valid_to, it.overlap_until)
            changes = (it.created_at, it.updated_at, it.sent_at, it.mint_begun_at)
            is_left = it.is_open or it.leaves_pats
            bounds = [*((at, changed) for at in changes), *((at, ended) for at in ends)]
            return not is_left and all(at is None or at < bound for at, bound in bounds)

        past = sorted(it.id for it in self._tables.rotations.values() if it.id > after and is_past(it))
        return tuple(_make_trace(self._tables.rotations[found]) for found in past[:limit])

    def load_unconfirmed(self, now: datetime) -> tuple[Rotation, ...]:
        return tuple(
            rotation
            for rotation in self._sorted()
            if not rotation.is_open
            and rotation.new_authorization_id is None
            and rotation.sent_at is not None
            and rotation.planned_valid_to is not None
            and rotation.planned_valid_to > now
        )

    def load_sent_mints(self, now: datetime) -> tuple[Rotation, ...]:
        return tuple(
            rotation
            for rotation in self._sorted()
            if rotation.new_authorization_id is None
            and rotation.sent_at is not None
            and rotation.planned_valid_to is not None
            and rotation.planned_valid_to > now
        )

    def load_naming(self, authorization_ids: Collection[str]) -> tuple[Rotation, ...]:
        wanted = set(authorization_ids)
        return tuple(r for r in self._sorted() if {r.predecessor_id, r.new_authorization_id} & wanted)

    def find_known(self, rotation_ids: Collection[str]) -> frozenset[str]:
        return frozenset(rotation_ids) & (self._tables.rotations.keys() | self._tables.old.keys())

    def load_leaving(self, now: datetime) -> tuple[Rotation, ...]:
        leaving = (rotation for rotation in self._sorted() if rotation.leaves_pats)
        return tuple(r for r in leaving if r.predecessor_valid_to > now or (r.new_valid_to or now) > now)

    def load_late_stores(self, since: datetime) -> tuple[Rotation, ...]:
        return tuple(
            rotation for rotation in self._sorted() if rotation.may_write_late and rotation.updated_at >= since
        )

    def count_mints(self, since: datetime, until: datetime) -> int:
        moments = (rotation.mint_begun_at for rotation in self._tables.rotations.values())
        return sum(moment is not None and since < moment <= until for moment in moments)

    def load_planned(self, organization: str, display_name: str) -> frozenset[datetime]:
        alike = [r for r in self.load_open() if (r.organization, r.display_name) == (organization, display_name)]
        return frozenset(r.planned_valid_to for r in alike if r.planned_valid_to is not None)

    def _list_traces(self) -> list[Trace]:
        traces = [*map(_make_trace, self._tables.rotations.values()), *self._tables.old.values()]
        return sorted(traces, key=lambda trace: (trace.created_at, trace.id))

    def _sorted(self) -> list[Rotation]:
        return sorted(self._tables.rotations.values(), key=lambda rotation: (rotation.created_at, rotation.id))


class _MemoryJournal(_MemoryJournalReader):
    def lock_mints(self, since: datetime, until: datetime) -> int:
        """There is one transaction at a time."""
        self._tables.check_order()
        return self.count_mints(since, until)

    def insert(self, rotation: Rotation, claim: Claim) -> None:
        self._check(rotation, claim)
        if rotation.id in self._tables.rotations:
            raise DatabaseError(f"rotation {rotation.id} exists already", code="database_constraint")
        self._put(rotation)

    def enter(self, rotation: Rotation, claim: Claim) -> None:
        known = self._tables.rotations.get(rotation.id)
        if known is not None and known.place == rotation.place:
            self.save(rotation, claim)
        else:
            self._tables.old.pop(rotation.id, None)
            self.insert(rotation, claim)

    def archive(self, rotation_ids: Collection[str]) -> int:
        self._tables.check_order()
        moved = [self._tables.rotations.pop(found) for found in set(rotation_ids) & self._tables.rotations.keys()]
        self._tables.old.update((rotation.id, _make_trace(rotation)) for rotation in moved)
        return len(moved)

    def save(self, rotation: Rotation, claim: Claim) -> None:
        self._check(rotation, claim)
        old = self._tables.rotations.get(rotation.id)
        if old is None or old.record_id not in (None, self._tables.find_record(rotation.name)):
            raise make_unknown(rotation)
        self._put(rotation)

    def note_revoked(self, authorization_id: str, at: datetime, claim: Claim) -> None:
        self._tables.check_order()
        if not self._tables.holds(claim):
            raise make_lost(claim)
        for rotation in self._tables.rotations.values():
            is_meant = rotation.state is RotationState.FAILED and rotation.new_authorization_id == authorization_id
            if is_meant and rotation.tried_store and rotation.ending in (None, RotationEnding.CLONE_REVOKED):
                noted = replace(rotation, ending=RotationEnding.CLONE_REVOKED, updated_at=at)
                self._tables.rotations[rotation.id] = noted

    def redate(self, after: datetime, at: datetime, claim: Claim) -> None:
        self._tables.check_order()
        if not self._tables.holds(claim):
            raise make_lost(claim)
        mine = {None, self._tables.find_record(claim.name)}
        every = self._tables.rotations.values()
        ahead = [rotation for rotation in every if rotation.record_id in mine and rotation.updated_at > after]
        self._tables.rotations.update((rotation.id, replace(rotation, updated_at=at)) for rotation in ahead)

    def _put(self, rotation: Rotation) -> None:
        record_id = self._tables.find_record(rotation.name)
        self._tables.rotations[rotation.id] = replace(rotation, record_id=record_id)

    def _check(self, rotation: Rotation, claim: Claim) -> None:
        self._tables.check_order()
        if claim.name != rotation.name or not self._tables.holds(claim):
            raise make_lost(claim)
        for other in self._tables.rotations.values():
            if other.name == rotation.name and other.id != rotation.id and other.is_open and rotation.is_open:
                raise make_open_already(rotation, other.id)


class _MemoryAuditLogReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self, number: int) -> AuditEvent | None:
        return next((event for event in self._tables.events if event.sequence == number), None)

    def load_head(self) -> AuditEvent | None:
        return self._tables.events[-1] if self._tables.events else None

    def load_newest_number(self) -> int:
        return self._tables.events[-1].sequence if self._tables.events else 0

    def find_first(self, but_for: Collection[str]) -> int | None:
        return next((event.sequence for event in self._tables.events if event.entry.event not in but_for), None)

    def count(self, events: Collection[str], after: int) -> Mapping[str, int]:
        return Counter(event.entry.event for event in self._list_after(after) if event.entry.event in events)

    def load_named(self, events: Collection[str], after: int, limit: int) -> tuple[AuditEvent, ...]:
        later = (event for event in self._list_after(after) if event.entry.event in events)
        return tuple(map(self._read, itertools.islice(later, limit)))

    def load_newest(self, limit: int, wanted: AuditFilter = EVERY_EVENT) -> tuple[AuditEvent, ...]:
        newest = (event for event in reversed(self._tables.events) if _fits(event, wanted))
        return tuple(map(self._read, itertools.islice(newest, limit)))[::-1]

    def load_after(self, number: int | None, limit: int, wanted: AuditFilter = EVERY_EVENT) -> Iterator[AuditEvent]:
        later = self._list_after(number or 0)
        found = itertools.islice((event for event in later if _fits(event, wanted)), limit)
        return found if wanted == EVERY_EVENT else map(self._read, found)

    def _read(self, event: AuditEvent) -> AuditEvent:
        if event.sequence in self._tables.spoiled:
            raise AuditChainError("it cannot be read", sequence=event.sequence, expected="an event", found="a row")
        return event

    def load_hashes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        return [(event.sequence, event.hash) for event in self._list_after(after)[:limit]]

    def load_times(self, after: int, limit: int) -> Sequence[tuple[int, datetime]]:
        return [(event.sequence, event.occurred_at) for event in self._list_after(after)[:limit]]

    def _list_after(self, number: int) -> list[AuditEvent]:
        return self._tables.events[bisect_right(self._tables.events, number, key=lambda event: event.sequence) :]


def _fits(event: AuditEvent, wanted: AuditFilter) -> bool:
    entry = event.entry
    if wanted.event not in (None, entry.event):  # quick, because whole logs are searched
        return False
    pairs = (
        (wanted.subject, entry.subject),
        (wanted.run_id, entry.run_id),
        (wanted.outcome, entry.outcome),
        (wanted.actor, entry.actor),
        (wanted.authorization_id, entry.details.get("authorization_id")),
    )
    is_late_enough = wanted.since is None or event.occurred_at >= wanted.since
    is_early_enough = wanted.until is None or event.occurred_at < wanted.until
    return is_late_enough and is_early_enough and all(a is None or a == b for a, b in pairs)


class _MemoryAuditLog(_MemoryAuditLogReader):
    def append(self, entry: AuditEntry, occurred_at: datetime) -> AuditEvent:
        entry = replace(entry, details=dict(entry.details))
        event = make_event(entry, previous=self.load_head(), occurred_at=occurred_at.astimezone(UTC))
        self._tables.events.append(event)
        self._tables.is_audited = True
        return event

    def delete_archived(self, last: int, kept: Collection[str], limit: int) -> int:
        old = [event for event in self._tables.events if event.sequence <= last and event.entry.event not in kept]
        doomed = {event.sequence for event in old[:limit]}
        covered = (e.entry.details.get("last", 0) for e in self._tables.events if e.entry.event == "log_archived")
        if doomed and max(doomed) > max(map(int, map(str, covered)), default=0):
            raise DatabaseError("the audit log is append-only")
        self._tables.events[:] = [event for event in self._tables.events if event.sequence not in doomed]
        return len(doomed)


class _MemoryCheckpoints:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load_newest(self) -> Checkpoint | None:
        return max(self._tables.checkpoints.values(), key=lambda found: found.size, default=None)

    def load_signed(self, within: int) -> Checkpoint | None:
        signed = (c for c in self._tables.checkpoints.values() if c.size <= within and c.signature is not None)
        return max(signed, key=lambda found: found.size, default=None)

    def load_after(self, size: int, limit: int) -> Iterator[Checkpoint]:
        later = (found for number, found in sorted(self._tables.checkpoints.items()) if number > size)
        return itertools.islice(later, limit)

    def load_verified(self) -> VerifiedLog | None:
        return self._tables.verified

    def save_verified(self, verified: VerifiedLog) -> None:
        self._tables.check_order()
        self._tables.verified = verified

    def hold(self, size: int) -> bool:
        self._tables.check_order()
        return max(self._tables.checkpoints, default=0) == size

    def add(self, checkpoint: Checkpoint, after: int) -> bool:
        if not self.hold(after):
            return False
        self._tables.checkpoints[checkpoint.size] = checkpoint
        return True


class _MemoryClaimsReader:
    def __init__(self, tables: _Tables, clocks: Clocks) -> None:
        self._tables = tables
        self._clocks = clocks

    def find_held(self, names: Collection[str], *, now: datetime, span: timedelta) -> frozenset[str]:
        claims = {name: self._tables.claims[name] for name in names if name in self._tables.claims}
        return self._judge(claims, now, span).held

    def find_next_over(self, *, now: datetime, span: timedelta, name: str | None = None) -> timedelta | None:
        claims = {found: held for found, held in self._tables.claims.items() if name in (None, found)}
        return self._judge(claims, now, span, is_all=name is None).next_over

    def load_all(self) -> tuple[Claim, ...]:
        return tuple(
            Claim(name, held.claimant or "", self._tables.pats[name].epoch, held.until or LONG_AGO)
            for name, held in self._tables.claims.items()
        )

    def _judge(self, claims: Mapping[str, Held], now: datetime, span: timedelta, *, is_all: bool = False) -> Bindings:
        boot = self._clocks.read_boot()
        self._clocks.watch.beats.inherit(self._load_sights)
        judge = Judge(self._clocks.watch, now, span, boot, boot)
        return judge.find_bindings(claims, tuple(self._tables.heartbeats.values()), is_all=is_all)

    def _load_sights(self) -> Sights:
        place = self._find_place()
        return {key[-1]: sight for key, sight in self._tables.sights.items() if key[:-1] == place}

    def _find_place(self) -> tuple[str, str | None]:
        boot = self._clocks.read_boot()
        return "" if boot is None else boot.boot_id, self._clocks.timeline


class _MemoryClaims(_MemoryClaimsReader):
    def claim(self, name: str, claimant: str, *, now: datetime, span: timedelta) -> Claim:
        self._tables.check_order()
        pat = self._tables.pats.get(name)
        if pat is None:
            raise make_missing(name)
        held = self._tables.claims.get(name)
        if held is not None and self._judge({name: held}, now, span).held:
            raise make_held(name, held.claimant or "", held.until or now)
        self._tables.pats[name] = replace(pat, epoch=pat.epoch + 1)
        self._tables.claims[name] = Held(claimant, now + span, self._clocks.read_boot())
        self._tables.entries[name] = replace(self._tables.entries.get(name, _NO_ENTRY), next_at=LONG_AGO)
        return Claim(name, claimant, pat.epoch + 1, now + span, None if held is None else held.claimant)

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        self._tables.check_order()
        if not self._tables.holds(claim):
            raise make_lost(claim)
        self._tables.claims[claim.name] = Held(claim.claimant, now + span, self._clocks.read_boot())
        return replace(claim, expires_at=now + span)

    def keep_sights(self, *, now: datetime) -> None:
        self._tables.check_order()
        if self._clocks.timeline is not None:
            at_work = {held.process for held in self._tables.claims.values()}
            late = self._clocks.watch.beats.find_late(at_work, now)
            self._tables.sights |= {(*self._find_place(), process): sight for process, sight in late.items()}

    def release(self, claim: Claim) -> bool:
        self._tables.check_order()
        is_ours = self._tables.holds(claim)
        if is_ours:
            del self._tables.claims[claim.name]
        return is_ours


class _MemoryLifetimeLimitsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> dict[tuple[str, str], LifetimeLimit]:
        return dict(self._tables.limits)


class _MemoryLifetimeLimits(_MemoryLifetimeLimitsReader):
    def save(self, account: str, organization: str, limit: LifetimeLimit) -> None:
        self._tables.check_order()
        self._tables.limits[account, organization] = limit

    def forget(self, account: str, organization: str) -> None:
        self._tables.check_order()
        self._tables.limits.pop((account, organization), None)


class _MemoryConditionsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> tuple[Condition, ...]:
        return tuple(self._tables.conditions[key] for key in sorted(self._tables.conditions))

    def load_of(self, kinds: Collection[ConditionKind]) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.load() if condition.kind in kinds)


class _MemoryConditions(_MemoryConditionsReader):
    def begin(self, condition: Condition) -> None:
        lasting = self._tables.conditions.setdefault((condition.kind, condition.subject), condition)
        self._tables.conditions[condition.kind, condition.subject] = replace(lasting, code=condition.code)

    def lock(self, kind: ConditionKind, *, shared: bool = False) -> tuple[Condition, ...]:
        """There is one transaction at a time."""
        return self.load_of([kind])

    def end(self, kinds: Collection[ConditionKind], subject: str) -> None:
        for kind in kinds:
            self._tables.conditions.pop((kind, subject), None)


class _MemoryRequestCountsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> RequestCounts:
        return dict(self._tables.requests)


class _MemoryRequestCounts(_MemoryRequestCountsReader):
    def add(self, counts: RequestCounts) -> None:
        self._tables.check_order()
        self._tables.requests.update(counts)


class _MemoryRevocationsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> tuple[PendingRevocation, ...]:
        return tuple(sorted(self._tables.revocations.values(), key=order_pending))

    def load_for(self, names: Collection[str]) -> tuple[PendingRevocation, ...]:
        return tuple(item for item in self.load() if item.name in names)

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[PendingRevocation, ...]:
        return tuple(item for item in self.load() if item.authorization_id in authorization_ids)


class _MemoryRevocations(_MemoryRevocationsReader):
    def save(self, pending: PendingRevocation, claim: Claim) -> None:
        self._tables.check_order()
        if claim.name != pending.name or not self._tables.holds(claim):
            raise make_lost(claim)
        record_id = self._tables.find_record(pending.name)
        self._tables.revocations[pending.authorization_id] = replace(pending, record_id=record_id)

    def note_missed(self, authorization_id: str, at: datetime | None) -> None:
        self._tables.check_order()
        known = self._tables.revocations.get(authorization_id)
        if known is not None:
            self._tables.revocations[authorization_id] = replace(known, missed_at=at)

    def redate(self, after: datetime, at: datetime) -> None:
        self._tables.check_order()

        def bound(moment: datetime) -> datetime:
            return at if moment > after else moment

        for key, item in self._tables.revocations.items():
            missed = None if item.missed_at is None else bound(item.missed_at)
            bounded = replace(item, since=bound(item.since), requested_at=bound(item.requested_at), missed_at=missed)
            self._tables.revocations[key] = bounded

    def end(self, authorization_id: str) -> bool:
        self._tables.check_order()
        return self._tables.revocations.pop(authorization_id, None) is not None


_NO_ENTRY = Entry(None, "", LONG_AGO)
"""That of a new record."""


class _MemoryQueueReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load_due(self, now: datetime) -> tuple[ManagedPat, ...]:
        due = [
            self._tables.pats[name]
            for name, entry in self._tables.entries.items()
            if entry.next_at is not None and entry.next_at <= now
        ]
        return tuple(sorted(due, key=order_due))

    def find_next(self, after: datetime) -> datetime | None:
        moments = (entry.next_at for entry in self._tables.entries.values())
        return min((moment for moment in moments if moment is not None and moment > after), default=None)

    def find_stale(self, basis: Basis, limit: int) -> tuple[str, ...]:
        free = (name for name in self._tables.pats if name not in self._tables.claims)
        return tuple(itertools.islice((name for name in free if self._is_stale(name, basis)), limit))

    def find_newest_other(self, policy: str) -> datetime | None:
        entries = self._tables.entries.values()
        others = (entry.since for entry in entries if entry.basis and not entry.basis.startswith(policy))
        return max(others, default=None)

    def _is_stale(self, name: str, basis: Basis) -> bool:
        entry = self._tables.entries.get(name, _NO_ENTRY)
        return entry.basis not in (basis.plain, basis.limited) or entry.since > basis.horizon


class _MemoryQueue(_MemoryQueueReader):
    def load_free(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        self._tables.check_order()
        free = self._tables.pats.keys() & set(names) - self._tables.claims.keys()
        return tuple(self._tables.pats[name] for name in sorted(free))

    def save(self, name: str, entry: Entry) -> None:
        self._tables.check_order()
        if name in self._tables.pats:
            self._tables.entries[name] = entry


class _MemoryProbesReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def count(self) -> int:
        return sum(pat.has_pat for pat in self._tables.pats.values())

    def load_due(self, now: datetime, horizon: datetime, limit: int) -> tuple[tuple[ManagedPat, Probe | None], ...]:
        free = [pat for name, pat in self._tables.pats.items() if pat.has_pat and name not in self._tables.claims]
        found = [(pat, self._tables.probes.get(pat.record_id or "")) for pat in free]
        due = [(pat, probe) for pat, probe in found if probe is None or not now < probe.next_at <= horizon]
        return tuple(sorted(due, key=_order_probes)[:limit])

    def load_results(self, names: Collection[str] | None = None) -> Mapping[str, bool]:
        found = ((pat, self._tables.probes.get(pat.record_id or "")) for pat in self._tables.pats.values())
        return {
            pat.name: probe.works
            for pat, probe in found
            if names is None or pat.name in names
            if probe is not None and probe.works is not None and probe.authorization_id == pat.authorization_id
        }


def _order_probes(found: tuple[ManagedPat, Probe | None]) -> tuple[datetime, str]:
    return LONG_AGO if found[1] is None else found[1].next_at, found[0].name


class _MemoryProbes(_MemoryProbesReader):
    def save(self, record_id: str, probe: Probe) -> bool:
        self._tables.check_order()
        ids = (pat.authorization_id for pat in self._tables.pats.values() if pat.record_id == record_id)
        is_same = next(ids, None) == probe.authorization_id
        if is_same:
            self._tables.probes[record_id] = probe
        return is_same


class _MemoryJobRunsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def find_last(self, job: JobName, until: datetime, outcome: JobOutcome | None = None) -> JobRun | None:
        runs = (run for run in self._tables.job_runs.values() if run.job is job and run.period <= until)
        wanted = (run for run in runs if outcome is None or run.outcome is outcome)
        return max(wanted, key=lambda run: run.period, default=None)

    def count_failures(self, job: JobName, after: datetime | None, until: datetime) -> Failures:
        failed = [
            run.period
            for run in self._tables.job_runs.values()
            if run.job is job and run.outcome is JobOutcome.FAILED and run.period <= until
            if after is None or run.period > after
        ]
        return Failures(len(failed), min(failed, default=None))

    def find_first_raised(self, job: JobName, until: datetime) -> datetime | None:
        first: datetime | None = None
        for run in sorted(self._tables.job_runs.values(), key=lambda run: run.period):
            if run.job is job and run.period <= until and run.outcome is not None:
                first = None if run.failure is None else first or run.period
        return first

    def load_heartbeats(self) -> tuple[Heartbeat, ...]:
        by_holder = sorted(self._tables.heartbeats.values(), key=lambda beat: beat.holder)
        return tuple(sorted(by_holder, key=lambda beat: beat.beat_at, reverse=True))


class _MemoryJobRuns(_MemoryJobRunsReader):
    def begin(self, run: JobRun) -> bool:
        self._tables.check_order()
        found = self._tables.job_runs.get((run.job, run.period))
        if found is not None and not may_begin(found, run, lambda holder: holder in self._tables.gone):
            return False
        self._tables.job_runs[run.job, run.period] = run
        return True

    def end(self, run: JobRun) -> None:
        self._tables.check_order()
        self._tables.job_runs[run.job, run.period] = run
        before = run.period - KEPT_FOR
        own = [other for other in self._tables.job_runs.values() if other.job is run.job]
        newest = max((other.period for other in own if other.outcome is JobOutcome.SUCCEEDED), default=before)
        for other in own:
            if other.period < min(before, newest):
                del self._tables.job_runs[other.job, other.period]

    def beat(self, heartbeat: Heartbeat) -> None:
        self._tables.check_order()
        self._tables.heartbeats[heartbeat.holder] = heartbeat

    def end_silent(self, holders: Collection[str], before: datetime, now: datetime) -> tuple[Heartbeat, ...]:
        self._tables.check_order()
        found = []
        for beat in sorted(self._tables.heartbeats.values(), key=lambda beat: beat.holder):
            life = self._tables.job_runs.get((JobName.HEARTBEAT, beat.began_at))
            is_silent = beat.holder in holders and beat.was_over(before)
            if is_silent and life is not None and life.holder == beat.holder and life.outcome is None:
                ended = replace(life, outcome=JobOutcome.FAILED, ended_at=now)
                self._tables.job_runs[JobName.HEARTBEAT, beat.began_at] = ended
                found.append(beat)
        return tuple(found)

    def forget_heartbeats(self, before: datetime) -> None:
        self._tables.check_order()
        self._tables.heartbeats = {h: beat for h, beat in self._tables.heartbeats.items() if beat.beat_at >= before}


class _MemoryOutboxReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load_receivers(self) -> tuple[Receiver, ...]:
        return tuple(self._tables.receivers[name] for name in sorted(self._tables.receivers))

    def load_deliveries(self, receiver: str) -> tuple[Delivery, ...]:
        found = (item for item in self._tables.deliveries.values() if item.receiver == receiver)
        return tuple(sorted(found, key=lambda item: (item.made_at, item.topic)))

    def load_calls(self, hook: str) -> tuple[HookCall, ...]:
        return tuple(call for key, call in sorted(self._tables.calls.items()) if key[0] == hook)


class _MemoryOutbox(_MemoryOutboxReader):
    def __init__(self, tables: _Tables, clocks: Clocks) -> None:
        super().__init__(tables)
        self._clocks = clocks

    def claim(self, name: str, holder: str, span: timedelta) -> Receiver | None:
        self._tables.check_order()
        if name not in self._tables.receivers:
            raise ValueError(f"no receiver {name}")
        now = self._clocks.host_now()
        held = self._tables.deliverers.get(name)
        if held is not None and not may_claim(*held, holder, now, span, lambda holder: False):
            return None
        self._tables.deliverers[name] = (holder, now + span)
        return self._tables.receivers[name]

    def release(self, name: str, holder: str) -> None:
        self._tables.check_order()
        if self._tables.deliverers.get(name, ("",))[0] == holder:
            del self._tables.deliverers[name]

    def save_receiver(self, receiver: Receiver) -> None:
        self._tables.check_order()
        self._tables.receivers[receiver.name] = receiver

    def save_delivery(self, delivery: Delivery) -> None:
        self._tables.check_order()
        self._tables.deliveries[delivery.receiver, delivery.topic] = delivery

    def forget_delivery(self, receiver: str, topic: str) -> None:
        self._tables.check_order()
        self._tables.deliveries.pop((receiver, topic), None)

    def save_call(self, call: HookCall) -> None:
        self._tables.check_order()
        self._tables.calls[call.hook, call.sequence] = call

    def forget_call(self, hook: str, sequence: int) -> None:
        self._tables.check_order()
        self._tables.calls.pop((hook, sequence), None)

    def forget_receivers(self, names: Collection[str]) -> None:
        self._tables.check_order()
        tables = self._tables
        tables.receivers = {name: item for name, item in tables.receivers.items() if name not in names}
        tables.deliveries = {key: item for key, item in tables.deliveries.items() if key[0] in tables.receivers}
        tables.calls = {key: call for key, call in tables.calls.items() if key[0] in tables.receivers}


class _MemorySignInsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self, account: str) -> SignInMemory:
        return self._tables.sign_ins.get(account, SignInMemory(account))


class _MemorySignIns(_MemorySignInsReader):
    def save(self, memory: SignInMemory) -> None:
        self._tables.check_order()
        self._tables.sign_ins[memory.account] = memory


class _MemoryOrganizationsReader:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> tuple[OrganizationMemory, ...]:
        return tuple(self._tables.organizations[pair] for pair in sorted(self._tables.organizations))


class _MemoryOrganizations(_MemoryOrganizationsReader):
    def save(self, memory: OrganizationMemory) -> None:
        self._tables.check_order()
        self._tables.organizations[memory.account, memory.organization] = memory

    def forget(self, pairs: Collection[tuple[str, str]]) -> None:
        self._tables.check_order()
        for pair in pairs:
            self._tables.organizations.pop(pair, None)


class _MemoryThrottles:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def load(self) -> dict[str, ThrottleHold]:
        return dict(self._tables.throttles)

    def save(self, key: str, hold: ThrottleHold) -> None:
        self._tables.check_order()
        self._tables.throttles[key] = hold


class _MemoryReading:
    def __init__(self, tables: _Tables, clocks: Clocks) -> None:
        self._clocks = clocks
        self.inventory: InventoryReader = _MemoryInventoryReader(tables)
        self.journal: JournalReader = _MemoryJournalReader(tables)
        self.audit: AuditLogReader = _MemoryAuditLogReader(tables)
        self.checkpoints: CheckpointsReader = _MemoryCheckpoints(tables)
        self.claims: ClaimsReader = _MemoryClaimsReader(tables, clocks)
        self.limits: LifetimeLimitsReader = _MemoryLifetimeLimitsReader(tables)
        self.conditions: ConditionsReader = _MemoryConditionsReader(tables)
        self.revocations: RevocationsReader = _MemoryRevocationsReader(tables)
        self.queue: QueueReader = _MemoryQueueReader(tables)
        self.probes: ProbesReader = _MemoryProbesReader(tables)
        self.job_runs: JobRunsReader = _MemoryJobRunsReader(tables)
        self.outbox: OutboxReader = _MemoryOutboxReader(tables)
        self.request_counts: RequestCountsReader = _MemoryRequestCountsReader(tables)
        self.sign_ins: SignInsReader = _MemorySignInsReader(tables)
        self.organizations: OrganizationsReader = _MemoryOrganizationsReader(tables)
        self.throttles: ThrottlesReader = _MemoryThrottles(tables)

    def now(self) -> datetime:
        return self._clocks.host_now()

    def find_clock(self) -> datetime | None:
        return self._clocks.host_now() if self._clocks.has_clock else None

    def find_timeline(self) -> str | None:
        return self._clocks.timeline


class _MemoryUnitOfWork:
    def __init__(self, tables: _Tables, clocks: Clocks) -> None:
        self._clocks = clocks
        self.awaited: list[Callable[[], None]] = []
        self.inventory: Inventory = _MemoryInventory(tables)
        self.journal: Journal = _MemoryJournal(tables)
        self.audit: AuditLog = _MemoryAuditLog(tables)
        self.checkpoints: Checkpoints = _MemoryCheckpoints(tables)
        self.claims: Claims = _MemoryClaims(tables, clocks)
        self.limits: LifetimeLimits = _MemoryLifetimeLimits(tables)
        self.conditions: Conditions = _MemoryConditions(tables)
        self.revocations: Revocations = _MemoryRevocations(tables)
        self.queue: Queue = _MemoryQueue(tables)
        self.probes: Probes = _MemoryProbes(tables)
        self.job_runs: JobRuns = _MemoryJobRuns(tables)
        self.outbox: Outbox = _MemoryOutbox(tables, clocks)
        self.request_counts: RequestCountsWriter = _MemoryRequestCounts(tables)
        self.sign_ins: SignIns = _MemorySignIns(tables)
        self.organizations: Organizations = _MemoryOrganizations(tables)
        self.throttles: Throttles = _MemoryThrottles(tables)

    def afterwards(self, act: Callable[[], None]) -> None:
        self.awaited.append(act)

    def now(self) -> datetime:
        return self._clocks.host_now()

    def find_clock(self) -> datetime | None:
        return self._clocks.host_now() if self._clocks.has_clock else None

    def find_timeline(self) -> str | None:
        return self._clocks.timeline


class MemoryDatabase:
    """The port Database. One transaction that writes at a time; nothing is kept of one that ends with an exception.

    Any number of threads may use it; a nested `begin` raises DatabaseLockedError after
    `lock_timeout` seconds, as on SQLite.
    """

    def __init__(
        self, *, host_now: Callable[[], datetime] = lambda: datetime.now(UTC), lock_timeout: float = 10.0
    ) -> None:
        self.clocks = Clocks(host_now)
        self._lock_timeout = lock_timeout
        self.gone: set[str] = set()
        """The holders whose process has certainly ended."""
        self._tables = _Tables(gone=self.gone)
        self._turn = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        if not self._turn.acquire(timeout=self._lock_timeout):
            raise DatabaseLockedError("the database in memory is held by another transaction")
        try:
            tables = self._tables.copy()
            work = _MemoryUnitOfWork(tables, self.clocks)
            yield work
            self._tables = tables
        finally:
            self._turn.release()
        for act in work.awaited:
            act()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port. What is committed is never changed in place: a commit puts new tables there."""
        yield _MemoryReading(self._tables, self.clocks)

    def list_rotations(self) -> list[Rotation]:
        """All rotations, the oldest first, whatever became of their records."""
        return _MemoryJournalReader(self._tables)._sorted()

    def snapshot(self) -> object:
        """All that is committed, for a look at it."""
        return self._tables

    def alter(self, event: AuditEvent) -> None:
        """Put this event in the place of the one with its number, as somebody with access to the files would."""
        with self._turn:
            self._tables.events[event.sequence - 1] = event

    def spoil(self, subject: str, event: str | None = None) -> int:
        """Make the first such event about this subject unreadable where some are looked for, and return its number."""
        with self._turn:
            wanted = AuditFilter(subject=subject, event=event)
            found = next(each.sequence for each in self._tables.events if _fits(each, wanted))
            self._tables.spoiled = frozenset({found})
            return found

    def back_up(self) -> Callable[[], None]:
        """A function that puts the database back to what is committed now."""
        kept = self._tables.copy()

        def restore() -> None:
            with self._turn:
                self._tables = kept.copy()

        return restore

    def close(self) -> None:
        """Nothing to close; what was stored stays."""
