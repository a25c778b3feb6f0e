"""What commands show of our own records. Each look is one transaction: what is shown together was true together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rotator.domain.audit_event import AuditEvent
from rotator.domain.condition import Condition
from rotator.domain.job_run import JobName, JobOutcome, RunTimes
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.organization import OrganizationMemory
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.plan import Plan
from rotator.domain.policy import Policy
from rotator.domain.rotation import Rotation, RotationKind
from rotator.domain.sign_in import SignInMemory
from rotator.engine.alarm import Finding, Tolerance, find_findings
from rotator.engine.claiming import check_managed
from rotator.engine.in_force import find_pause, find_pause_reason
from rotator.engine.pace import count_places
from rotator.engine.planning import plan_by_hand, plan_in
from rotator.engine.run_memory import load_run_times
from rotator.engine.signing_in import SignInSight, find_missing, find_waiting, hold_for_sign_ins
from rotator.engine.status import NONE_MISSING, NeededSignIn, PatStatus, load_needed, make_effective, status_in
from rotator.errors import AuditChainError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database, Reading

if TYPE_CHECKING:
    from rotator.engine.status_memory import StatusMemory

_NEWEST = 10
"""How many events are shown with a record."""


@dataclass(frozen=True)
class RecordView:
    """All that is known of one ManagedPat: its record as it is in effect, its rotations, its pending revocations.

    `events` are the newest of its name in the audit log, the oldest first; `unread` is why they cannot be read.
    `pause` lasts while everything is paused, and `pause_reason` is why, if that is known.
    """

    pat: ManagedPat
    rotations: tuple[Rotation, ...]
    pending: tuple[PendingRevocation, ...]
    events: tuple[AuditEvent, ...] = ()
    unread: AuditChainError | None = None
    pause: Condition | None = None
    pause_reason: str | None = None
    has_older: bool = False
    """Whether the audit log has more events of its name than these."""
    has_old: bool = False
    """Whether rotations before these left the journal."""


def view_record(database: Database, policy: Policy, name: str, now: datetime) -> RecordView:
    """Look at one record. NotManagedError when there is none of that name."""
    with database.read() as reading:
        record = check_managed(reading, name)
        journaled, limits = reading.journal.load_for(name), reading.limits.load()
        has_old = _follows_old(reading, journaled)
        pending = tuple(item for item in reading.revocations.load() if item.belongs_to(record))
        newest, unread = _load_newest(reading, name)
        pause, why = find_pause(reading), find_pause_reason(reading)
    rotations = tuple(rotation for rotation in journaled if rotation.kind is not RotationKind.RESTORE)
    effective, events = make_effective(record, policy, limits, now), newest[-_NEWEST:]
    has_older = len(newest) > len(events)
    return RecordView(effective, rotations, pending, events, unread, pause, why, has_older, has_old)


def _follows_old(reading: Reading, rotations: Sequence[Rotation]) -> bool:
    """Whether what the oldest of these replaced was made by a rotation that is none of them."""
    old = rotations[-1].predecessor_id if rotations else ""
    known = {rotation.id for rotation in rotations}
    traces = reading.journal.load_traces([old]) if old else ()
    return any(trace.new_authorization_id == old and trace.id not in known for trace in traces)


def _load_newest(reading: Reading, name: str) -> tuple[tuple[AuditEvent, ...], AuditChainError | None]:
    """Load the newest events of a name. An altered log hides no record: then there are none, and why."""
    try:
        return reading.audit.load_newest(_NEWEST + 1, AuditFilter(subject=name)), None
    except AuditChainError as error:
        return (), error


@dataclass(frozen=True)
class StatusView:
    """How everything stands.

    `looked_at`: when a daemon last looked at every account. `places`: how many rotations may still begin now.
    """

    now: datetime
    rows: tuple[PatStatus, ...]
    pending: tuple[PendingRevocation, ...]
    conditions: tuple[Condition, ...]
    needed: dict[str, NeededSignIn]
    runs: RunTimes
    looked_at: datetime | None
    places: int
    pause_reason: str | None = None
    organizations: tuple[OrganizationMemory, ...] = ()

    def find_pending(self, rows: Iterable[PatStatus]) -> tuple[PendingRevocation, ...]:
        """Return the pending revocations that belong to some of the rows."""
        names = {row.name for row in rows}
        return tuple(item for item in self.pending if item.name in names and not item.is_detached)

    def check(
        self,
        rows: tuple[PatStatus, ...],
        pending: tuple[PendingRevocation, ...],
        sights: Iterable[SignInSight],
        tolerance: Tolerance,
    ) -> tuple[Finding, ...]:
        """Return what is wrong with these rows and pending revocations, and with everything else."""
        signed_out = find_missing(sights, self.now)
        return find_findings(rows, pending, self.conditions, self.runs, self.now, tolerance, signed_out)


def view_status(
    database: Database,
    policy: Policy,
    now: datetime,
    *,
    settle: timedelta,
    lease: timedelta,
    missing: Mapping[str, NeededSignIn] = NONE_MISSING,
    memory: StatusMemory | None = None,
) -> StatusView:
    """Look at everything; the spans and `missing` as for `status_in`. `memory` reads only what may be news, of PATs."""
    with database.read() as reading:
        if memory is None:
            rows = status_in(reading, policy, now, settle=settle, lease=lease, missing=missing)
        else:
            rows = memory.look(reading, policy, now, settle=settle, lease=lease).rows
        look = reading.job_runs.find_last(JobName.RECONCILE, reading.now(), JobOutcome.SUCCEEDED)
        return StatusView(
            now,
            rows=rows,
            pending=tuple(reading.revocations.load()),
            conditions=tuple(reading.conditions.load()),
            needed={**missing, **load_needed(reading)},
            runs=load_run_times(reading),
            looked_at=None if look is None else look.ended_at,
            places=count_places(reading, policy.guardrails, now),
            pause_reason=find_pause_reason(reading),
            organizations=reading.organizations.load(),
        )


def view_plan(
    database: Database,
    policy: Policy,
    now: datetime,
    by_hand: Sequence[str] | None = None,
    *,
    settle: timedelta,
    lease: timedelta,
    missing: Mapping[str, NeededSignIn] = NONE_MISSING,
) -> Plan:
    """Look at what a run would do now without a person, who must sign accounts in by our records or by `missing`.

    With `by_hand`: what rotating these ManagedPats by hand would do. `settle`, `lease` and `missing` as for
    `status_in`, which says what waits for a sign-in.
    """
    with database.read() as reading:
        needed = {**missing, **load_needed(reading)}
        whole = plan_in(reading, policy, now) if by_hand is None or needed else Plan(now, ())
        plan = whole if by_hand is None else plan_by_hand(reading, policy, by_hand, now)
        waiting = (
            find_waiting(reading, policy, whole.actions, needed, now, settle=settle, lease=lease) if needed else {}
        )
    return hold_for_sign_ins(plan, needed, waiting)


def load_organizations(database: Database) -> tuple[OrganizationMemory, ...]:
    """Load what is remembered of every account's organizations."""
    with database.read() as reading:
        return reading.organizations.load()


def load_memories(database: Database, accounts: Iterable[str]) -> tuple[SignInMemory, ...]:
    """Load what is remembered of these accounts' sign-ins."""
    with database.read() as reading:
        return tuple(reading.sign_ins.load(account) for account in accounts)
