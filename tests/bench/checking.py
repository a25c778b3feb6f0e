"""What checking a long audit log takes, from its first event on: on SQLite, with checkpoints and their signatures."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.engine import make_url

from rotator.adapters.database.engine import make_engine
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.schema import audit_event
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.audit_event import AuditEvent, make_event
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.log_checking import check_log
from tests.support.engine import make_world
from tests.support.records import NOW, make_entry

_PARTS = 10
_ROWS = 10_000


@dataclass(frozen=True)
class CheckTiming:
    """A check of the whole log: seconds, of CPU too, and the most bytes that a tenth of it held at once."""

    events: int
    seconds: float
    cpu: float
    peak: int


def measure_check(events: int) -> CheckTiming:
    """Fill a log in ten parts, each sealed, and check it."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/rotator.db"
        upgrade(url)
        database, key = SqlDatabase(url), Ed25519Signer(make_signing_key())
        trust = Trust((key.public_key,), is_signed)
        run = _make_run(database, key)
        previous: AuditEvent | None = None
        peak = 0
        for part in range(1, _PARTS + 1):
            previous = _fill(url, previous, events * part // _PARTS)
            seal(run, timedelta(0), begins=True)
            peak = peak or _find_peak(database, trust)
        start, cpu = time.perf_counter(), time.process_time()
        summary = check_log(database, (), trust)
        timing = CheckTiming(summary.events, time.perf_counter() - start, time.process_time() - cpu, peak)
        assert (summary.events, summary.checkpoints, summary.signed) == (events, _PARTS, events)
        database.close()
        return timing


def _make_run(database: SqlDatabase, key: Ed25519Signer) -> RunContext:
    world = make_world()
    return world.make_run(replace(world.make_services(), database=database, signer=key))


def _fill(url: str, previous: AuditEvent | None, size: int) -> AuditEvent | None:
    """Add events until there are so many, by the rows: one by one would take minutes."""
    engine = make_engine(make_url(url), statement_limit=timedelta(0), answer_limit=timedelta(0))
    with engine.begin() as connection:
        rows: list[dict[str, object]] = []
        while (previous.sequence if previous else 0) < size:
            number = previous.sequence if previous else 0
            entry = make_entry(subject=f"feed-{number % 500}")
            previous = make_event(entry, previous=previous, occurred_at=NOW + timedelta(seconds=number))
            named = ("sequence", "occurred_at", "previous_hash", "hash", "encoding")
            rows.append({name: getattr(previous, name) for name in named} | vars(previous.entry))
            if len(rows) == _ROWS or previous.sequence == size:
                connection.execute(insert(audit_event), rows)
                rows = []
    engine.dispose()
    return previous


def _find_peak(database: SqlDatabase, trust: Trust) -> int:
    tracemalloc.start()
    check_log(database, (), trust)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
