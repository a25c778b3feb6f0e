"""Transactions on SQLite or PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection, Engine

from rotator.adapters.database.audit_log import SqlAuditLog, SqlAuditLogReader
from rotator.adapters.database.checkpoints import SqlCheckpoints, SqlCheckpointsReader
from rotator.adapters.database.claims import SqlClaims, SqlClaimsReader
from rotator.adapters.database.conditions import SqlConditions, SqlConditionsReader
from rotator.adapters.database.engine import LOCK_WAIT, is_postgresql, parse_url
from rotator.adapters.database.facts import load_facts
from rotator.adapters.database.failures import describe, make_locked, translated
from rotator.adapters.database.inventory import SqlInventory, SqlInventoryReader
from rotator.adapters.database.job_runs import SqlJobRuns, SqlJobRunsReader
from rotator.adapters.database.journal import SqlJournal, SqlJournalReader
from rotator.adapters.database.limits import SqlLifetimeLimits, SqlLifetimeLimitsReader
from rotator.adapters.database.organizations import SqlOrganizations, SqlOrganizationsReader
from rotator.adapters.database.postgresql import find_moment, find_timeline
from rotator.adapters.database.probes import SqlProbes, SqlProbesReader
from rotator.adapters.database.queue import SqlQueue, SqlQueueReader
from rotator.adapters.database.request_counts import SqlRequestCounts, SqlRequestCountsReader
from rotator.adapters.database.revision import make_not_initialised, open_checked
from rotator.adapters.database.revocations import SqlRevocations, SqlRevocationsReader
from rotator.adapters.database.sign_ins import SqlSignIns, SqlSignInsReader
from rotator.adapters.database.sqlite import FileId, check_path, find_file_id, find_path, find_share, reading_unchanged
from rotator.adapters.database.throttles import SqlThrottles, SqlThrottlesReader
from rotator.adapters.database.watch import ClaimsWatch
from rotator.errors import DatabaseLockedError, DatabaseUnreachableError
from rotator.ports.audit_log import AuditLog, AuditLogReader
from rotator.ports.checkpoints import Checkpoints, CheckpointsReader
from rotator.ports.claims import Claims, ClaimsReader
from rotator.ports.clock import BootClock
from rotator.ports.conditions import Conditions, ConditionsReader
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.host import DatabaseFacts
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


def read_host_clock() -> datetime:
    """Return the host's time, aware, UTC."""
    return datetime.now(UTC)


def find_clock(connection: Connection) -> datetime | None:
    """Return the time by PostgreSQL's clock; None where the database is a file."""
    return find_moment(connection) if is_postgresql(connection) else None


def load_now(connection: Connection, host_now: Callable[[], datetime]) -> datetime:
    """PostgreSQL's clock, or the host's where the database is a file."""
    return find_clock(connection) or host_now()


class SqlReading:
    """The port Reading on one open connection."""

    def __init__(
        self,
        connection: Connection,
        host_now: Callable[[], datetime],
        is_gone: Callable[[str], bool],
        boot: BootClock | None,
        watch: ClaimsWatch,
    ) -> None:
        self.inventory: InventoryReader = SqlInventoryReader(connection)
        self.journal: JournalReader = SqlJournalReader(connection)
        self.audit: AuditLogReader = SqlAuditLogReader(connection)
        self.checkpoints: CheckpointsReader = SqlCheckpointsReader(connection)
        self.claims: ClaimsReader = SqlClaimsReader(connection, is_gone, boot, watch)
        self.limits: LifetimeLimitsReader = SqlLifetimeLimitsReader(connection)
        self.conditions: ConditionsReader = SqlConditionsReader(connection)
        self.revocations: RevocationsReader = SqlRevocationsReader(connection)
        self.queue: QueueReader = SqlQueueReader(connection)
        self.probes: ProbesReader = SqlProbesReader(connection)
        self.job_runs: JobRunsReader = SqlJobRunsReader(connection)
        self.request_counts: RequestCountsReader = SqlRequestCountsReader(connection)
        self.sign_ins: SignInsReader = SqlSignInsReader(connection)
        self.organizations: OrganizationsReader = SqlOrganizationsReader(connection)
        self.throttles: ThrottlesReader = SqlThrottlesReader(connection)
        self._connection = connection
        self._host_now = host_now

    @cached_property
    def outbox(self) -> OutboxReader:
        """See the port."""
        from rotator.adapters.database.outbox import SqlOutboxReader

        return SqlOutboxReader(self._connection)

    def now(self) -> datetime:
        """See the port. Moves on within a transaction."""
        return load_now(self._connection, self._host_now)

    def find_clock(self) -> datetime | None:
        """See the port."""
        return find_clock(self._connection)

    def find_timeline(self) -> str | None:
        """See the port."""
        return find_timeline(self._connection) if is_postgresql(self._connection) else None


class SqlUnitOfWork:
    """The port UnitOfWork on one open connection."""

    def __init__(
        self,
        connection: Connection,
        host_now: Callable[[], datetime],
        is_gone: Callable[[str], bool],
        boot: BootClock | None,
        watch: ClaimsWatch,
    ) -> None:
        self._connection = connection
        self._host_now = host_now
        self._is_gone = is_gone
        self.awaited: list[Callable[[], None]] = []
        self.inventory: Inventory = SqlInventory(connection)
        self.journal: Journal = SqlJournal(connection)
        self.audit: AuditLog = SqlAuditLog(connection)
        self.checkpoints: Checkpoints = SqlCheckpoints(connection)
        self.claims: Claims = SqlClaims(connection, is_gone, boot, watch)
        self.limits: LifetimeLimits = SqlLifetimeLimits(connection)
        self.conditions: Conditions = SqlConditions(connection)
        self.revocations: Revocations = SqlRevocations(connection)
        self.queue: Queue = SqlQueue(connection)
        self.probes: Probes = SqlProbes(connection)
        self.job_runs: JobRuns = SqlJobRuns(connection, is_gone)
        self.request_counts: RequestCountsWriter = SqlRequestCounts(connection)
        self.sign_ins: SignIns = SqlSignIns(connection)
        self.organizations: Organizations = SqlOrganizations(connection)
        self.throttles: Throttles = SqlThrottles(connection)

    @cached_property
    def outbox(self) -> Outbox:
        """See the port."""
        from rotator.adapters.database.outbox import SqlOutbox

        return SqlOutbox(self._connection, self.now, self._is_gone)

    def afterwards(self, act: Callable[[], None]) -> None:
        """See the port."""
        self.awaited.append(act)

    def now(self) -> datetime:
        """See the port. Moves on within a transaction."""
        return load_now(self._connection, self._host_now)

    def find_clock(self) -> datetime | None:
        """See the port."""
        return find_clock(self._connection)

    def find_timeline(self) -> str | None:
        """See the port."""
        return find_timeline(self._connection) if is_postgresql(self._connection) else None


class SqlDatabase:
    """The port Database.

    Making one only parses the URL. The first transaction connects and checks the schema, and so does each that writes:
    DatabaseError `database_not_initialised`, `database_older`, `database_newer` or `database_foreign`. Thread-safe.
    `is_gone` says whether a claimant's process has certainly ended: then its claims no longer count. `boot` measures
    the claims that were made on this host, and `watch` remembers what was seen of all, also by others of this process.

    An SQLite file may be moved away, deleted or replaced while it is open. Its connections would go on with what no
    later process finds, so the file at the path is looked at in each transaction: a new one is opened, and where none
    is, or it changed before a commit, nothing is written, with DatabaseUnreachableError.
    """

    def __init__(
        self,
        url: str,
        *,
        host_now: Callable[[], datetime] = read_host_clock,
        is_gone: Callable[[str], bool] = lambda claimant: False,
        boot: BootClock | None = None,
        watch: ClaimsWatch | None = None,
        lock_wait: timedelta = LOCK_WAIT,
    ) -> None:
        self._boot, self._watch = boot, watch or ClaimsWatch()
        self._url = parse_url(url)
        self._path = find_path(self._url) if self._url.drivername == "sqlite" else Path()
        self._lock_wait = lock_wait
        self._host_now = host_now
        self._is_gone = is_gone
        self._engines: tuple[Engine, Engine] | None = None
        self._file: FileId | None = None
        self._opening = threading.Lock()
        # SQLite has one writer. Threads of this process queue here, which is fairer and quicker than its busy waiting.
        self._turn: threading.Lock | None = threading.Lock() if self._url.drivername == "sqlite" else None
        self._has_begun = False

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port. Must not be nested. Waits at most `lock_wait` for a lock, then raises DatabaseLockedError."""
        with translated(self._url):
            writer, _ = self._open()
            with self._queued(), writer.begin() as connection:
                self._has_begun = True
                work = SqlUnitOfWork(connection, self._host_now, self._is_gone, self._boot, self._watch)
                yield work
                if self._is_replaced():
                    raise self._make_replaced()
        for act in work.awaited:
            act()

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port. May run inside a `begin` of the same thread, and does not see its uncommitted changes."""
        with translated(self._url):
            _, reader = self._open()
            with self._watched(), reader.begin() as connection:
                yield SqlReading(connection, self._host_now, self._is_gone, self._boot, self._watch)

    def find_share(self, mounts: Path) -> str | None:
        """Return the kind of network share that the file is on, where SQLite's locks do not hold; else None."""
        return find_share(self._path, mounts) if self._turn is not None else None

    def read_facts(self) -> DatabaseFacts:
        """Return how the database is kept."""
        with translated(self._url):
            _, reader = self._open()
            with self._watched(), reader.begin() as connection:
                return load_facts(connection, self._path if self._turn is not None else None)

    def close(self) -> None:
        """Close every connection; a later transaction opens again."""
        with self._opening:
            self._dispose()
            self._file = None

    def _open(self) -> tuple[Engine, Engine]:
        """Return the engines for transactions that write and for those that only read; they share their connections."""
        with self._opening:
            if self._engines is not None and self._is_replaced():
                self._dispose()
            if self._engines is None:
                if self._turn is not None:
                    self._check_file()
                self._engines = open_checked(self._url, self._lock_wait)
            return self._engines

    def _watched(self) -> AbstractContextManager[None]:
        return reading_unchanged(self._path) if self._turn is not None else nullcontext()

    def _dispose(self) -> None:
        if self._engines is not None:
            self._engines[0].dispose()
            self._engines = None

    def _check_file(self) -> None:
        path = self._path
        found = find_file_id(path)
        if found is None and self._file is not None:
            raise self._make_replaced()
        check_path(path)
        if found is None:
            raise make_not_initialised(self._url)
        self._file = found

    def _is_replaced(self) -> bool:
        """Whether the path no longer names the file that was opened."""
        return self._turn is not None and find_file_id(self._path) != self._file

    def _make_replaced(self) -> DatabaseUnreachableError:
        return DatabaseUnreachableError(
            f"{describe(self._url)} was moved away, deleted or replaced while rotator had it open",
            fix="Put the file back, or restore the newest backup. Stop rotator before you move its database.",
        )

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=self._lock_wait.total_seconds()):
            raise self._make_locked()
        try:
            yield
        finally:
            self._has_begun = False
            self._turn.release()

    def _make_locked(self) -> DatabaseLockedError:
        """Say whose turn lasted too long: a thread of ours that could not begin waits for another process itself."""
        if not self._has_begun:
            return make_locked(self._url)
        return DatabaseLockedError(
            f"{describe(self._url)} is locked by another thread of this process",
            fix="Try again; if it happens again, report it as a bug in rotator.",
        )
