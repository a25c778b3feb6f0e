"""Transactions over everything that is stored: one port for reading, one for writing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from rotator.ports.audit_log import AuditLog, AuditLogReader
from rotator.ports.checkpoints import Checkpoints, CheckpointsReader
from rotator.ports.claims import Claims, ClaimsReader
from rotator.ports.conditions import Conditions, ConditionsReader
from rotator.ports.inventory import Inventory, InventoryReader
from rotator.ports.job_runs import JobRuns, JobRunsReader
from rotator.ports.journal import Journal, JournalReader
from rotator.ports.limits import LifetimeLimits, LifetimeLimitsReader
from rotator.ports.organizations import Organizations, OrganizationsReader
from rotator.ports.outbox import Outbox, OutboxReader
from rotator.ports.probes import Probes, ProbesReader
from rotator.ports.queue import Queue, QueueReader
from rotator.ports.request_counts import RequestCountsReader, RequestCountsWriter
from rotator.ports.revocations import Revocations, RevocationsReader
from rotator.ports.sign_ins import SignIns, SignInsReader
from rotator.ports.throttles import Throttles, ThrottlesReader


class Reading(Protocol):
    """One transaction that only reads: it sees everything that was committed before one moment."""

    @property
    def inventory(self) -> InventoryReader:
        """The ManagedPats."""

    @property
    def journal(self) -> JournalReader:
        """The rotations."""

    @property
    def audit(self) -> AuditLogReader:
        """The audit log."""

    @property
    def checkpoints(self) -> CheckpointsReader:
        """What the audit log was at earlier moments."""

    @property
    def claims(self) -> ClaimsReader:
        """Who works on what."""

    @property
    def limits(self) -> LifetimeLimitsReader:
        """The longest lifetimes that the server has granted."""

    @property
    def conditions(self) -> ConditionsReader:
        """What is wrong and lasts."""

    @property
    def revocations(self) -> RevocationsReader:
        """The revocations that are not proven yet."""

    @property
    def queue(self) -> QueueReader:
        """When a run next has work to do on each ManagedPat."""

    @property
    def probes(self) -> ProbesReader:
        """Whether the value of each ManagedPat works, and when that is tried next."""

    @property
    def job_runs(self) -> JobRunsReader:
        """What ran when."""

    @property
    def outbox(self) -> OutboxReader:
        """What is to be delivered to whom."""

    @property
    def request_counts(self) -> RequestCountsReader:
        """How many requests were sent."""

    @property
    def sign_ins(self) -> SignInsReader:
        """What is remembered of each account's sign-in."""

    @property
    def organizations(self) -> OrganizationsReader:
        """What is remembered of each account's organizations."""

    @property
    def throttles(self) -> ThrottlesReader:
        """What services asked to wait."""

    def now(self) -> datetime:
        """Return the time by the database server's clock; for SQLite the host's."""

    def find_clock(self) -> datetime | None:
        """Return the time by the database server's own clock; None for SQLite, which has none."""

    def find_timeline(self) -> str | None:
        """Return what changes when the server is replaced by a standby or restored; None where nobody can tell."""


class UnitOfWork(Reading, Protocol):
    """One transaction that may write. Leaving the `with` block commits it; an exception rolls it back."""

    inventory: Inventory
    journal: Journal
    audit: AuditLog
    checkpoints: Checkpoints
    claims: Claims
    limits: LifetimeLimits
    conditions: Conditions
    revocations: Revocations
    queue: Queue
    probes: Probes
    job_runs: JobRuns
    request_counts: RequestCountsWriter
    sign_ins: SignIns
    organizations: Organizations
    throttles: Throttles

    @property
    def outbox(self) -> Outbox:
        """What is to be delivered; loaded when it is asked for."""

    def afterwards(self, act: Callable[[], None]) -> None:
        """Do this once the transaction is committed, and not at all if it is not, or if nobody can tell."""


class Database(Protocol):
    """Transactions. Raises DatabaseError or one of its subclasses when the database cannot be used."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """Begin a transaction. No other writes at the same time (SQLite), or it locks what it changes (PostgreSQL)."""

    def read(self) -> AbstractContextManager[Reading]:
        """Begin a transaction that neither waits for a writer nor makes one wait; the database refuses writes in it.

        What it shows may be out of date by the time it is acted on: whatever must still be true when something
        is written belongs in `begin`.
        """
