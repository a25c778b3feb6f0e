"""What the daemon's work reads when nothing is due: over a few records, and over very many with a long past."""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import (
    Connection,
    Engine,
    String,
    Table,
    cast,
    create_engine,
    event,
    insert,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.engine import make_url

from rotator.adapters.clock import SystemBootClock, SystemClock, SystemEntropy
from rotator.adapters.database.engine import make_engine
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.schema import managed_pat, rotation
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import record_policy
from rotator.engine.context import RunContext, Services
from rotator.engine.jobs import work_due
from rotator.engine.pulse import Pulse
from rotator.engine.queue import load_due
from tests.support.engine import make_world
from tests.support.policies import RULE, make_policy
from tests.support.postgres import PostgresServer
from tests.support.records import make_managed_pat, make_rotation

_TIMES = 50


@dataclass(frozen=True)
class IdleTiming:
    """One idle run: seconds, the best, and of CPU; statements, rows that the server read (PostgreSQL), peak bytes."""

    database: str
    records: int
    closed: int
    seconds: float
    cpu: float
    statements: int
    rows: int | None
    peak: int


def measure_idle(database: str, records: int, closed: int) -> IdleTiming:
    """Fill an empty database with these records and closed rotations, none of them due, and work again and again."""
    with _open(database) as url:
        upgrade(url)
        store = SqlDatabase(url)
        run = _make_run(store)
        _fill(run, url, records, closed)
        return _measure(run, store, url, database, records, closed)


@contextmanager
def _open(database: str) -> Iterator[str]:
    if database == "SQLite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder)}/rotator.db"
        return
    server = PostgresServer()
    try:
        yield server.url(server.create_database())
    finally:
        server.stop()


def _make_run(database: SqlDatabase) -> RunContext:
    """Everything outside is a fake, and nobody asks it."""
    services: Services = replace(
        make_world().make_services(),
        database=database,
        closing_database=database,
        clock=SystemClock(),
        boot=SystemBootClock(),
        entropy=SystemEntropy(),
    )
    return RunContext(services, make_policy(RULE), "run", "bench", "bench", lambda event, subject: None)


def _fill(run: RunContext, url: str, records: int, closed: int) -> None:
    """Copy one record, with its entry in the queue, and one closed rotation, within the database."""
    now = datetime.now(UTC).replace(microsecond=0)
    pat = replace(make_managed_pat("pat-0"), valid_from=now, valid_to=now + timedelta(days=90))
    done = replace(
        make_rotation("r-0", "pat-0", created_at=now - timedelta(days=1)),
        state=RotationState.COMPLETED,
        new_authorization_id=pat.authorization_id,
        planned_valid_to=pat.valid_to,
        sent_at=now,
        mint_begun_at=now - timedelta(days=1),
    )
    with run.services.database.begin() as work:
        work.inventory.add(pat)
        claim = work.claims.claim(pat.name, "bench", now=work.now(), span=timedelta(minutes=5))
        work.journal.insert(done, claim)
        work.claims.release(claim)
    record_policy(run)
    load_due(run)
    engine = make_engine(make_url(url), statement_limit=timedelta(0), answer_limit=timedelta(0))
    of_record = ("name", "record_id")
    with engine.begin() as connection:
        own = ("authorization_id", "secret_name", "location")
        _copy(connection, managed_pat, records, numbered=(*of_record, *own))
        own = ("id", "predecessor_id", "new_authorization_id")
        _copy(connection, rotation, closed, numbered=own, shared=of_record, among=records - 1)
        connection.execute(text("ANALYZE"))
    engine.dispose()


def _copy(
    connection: Connection,
    table: Table,
    count: int,
    *,
    numbered: Collection[str],
    shared: Collection[str] = (),
    among: int = 1,
) -> None:
    """Make so many rows out of the only one. `numbered` columns get the row's number, `shared` ones one of `among`."""
    start = select(literal(1).label("n")).cte("series", recursive=True)
    series = start.union_all(select(start.c.n + 1).where(start.c.n < count - 1))
    first = select(table).limit(1).subquery("first")
    values = []
    for column in first.c:
        number = series.c.n if column.name in numbered else series.c.n % among + 1
        is_changed = column.name in (*numbered, *shared)
        values.append(column + "-" + cast(number, String) if is_changed else column)
    names = [column.name for column in table.columns]
    rows = select(*values).select_from(first.join(series, true()))
    connection.execute(insert(table).from_select(names, rows))


def _measure(run: RunContext, store: SqlDatabase, url: str, database: str, records: int, closed: int) -> IdleTiming:
    pulse = Pulse("bench", run.services.clock.now())
    result = work_due(run, pulse)
    assert not result.counts, f"something was due: {result.counts}"
    taken, spent = [], []
    for _ in range(_TIMES):
        start, cpu = time.perf_counter(), time.process_time()
        work_due(run, pulse)
        taken.append(time.perf_counter() - start)
        spent.append(time.process_time() - cpu)
    store.close()  # the server counts what a connection has read at its end
    before = count_rows(url)
    statements = _count_statements(run, pulse)
    store.close()
    after = count_rows(url)
    tracemalloc.start()
    work_due(run, pulse)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = None if before is None or after is None else after - before
    return IdleTiming(database, records, closed, min(taken), statistics.median(spent), statements, rows, peak)


def _count_statements(run: RunContext, pulse: Pulse) -> int:
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(Engine, "after_cursor_execute", note)
    try:
        work_due(run, pulse)
    finally:
        event.remove(Engine, "after_cursor_execute", note)
    return count


def count_rows(url: str) -> int | None:
    """How many rows of our tables the server has read so far; SQLite does not say."""
    if url.startswith("sqlite"):
        return None
    query = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with engine.connect() as connection:
            while connection.execute(others).scalar_one():
                pass  # what a connection has read is counted when it has ended
            return int(connection.execute(text(query)).scalar_one())
    finally:
        engine.dispose()
