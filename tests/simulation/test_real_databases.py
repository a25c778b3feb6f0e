"""Random histories on the real adapters: SQLite, and PostgreSQL with connections that are cut inside COMMIT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial

import pytest

from rotator.ports.clock import BootClock
from tests.simulation.databases import KeptDatabase, PostgresKept, open_postgres, open_sqlite
from tests.simulation.simulation import simulate
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

SAMPLE = "a few"
SEEDS = {SAMPLE: (range(4, 7),), **{f"from {first}": (range(first, first + 50),) for first in (100, 150, 200, 250)}}
"""The few have crashes, frozen writers, faults of the database and a restore."""

pytestmark = [
    pytest.mark.prove,
    pytest.mark.timeout(900),
    # A process that dies here leaves its generators, and the connection that one held, to the garbage collection.
    pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <(generator object|function BaseConnection.__del__)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]


def live(seeds: range, open_database: Callable[[ExitStack, Callable[[], datetime], BootClock], KeptDatabase]) -> None:
    """Live through these histories, each on a database of its own; a broken promise raises."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        with ExitStack() as stack:
            history = simulate(seed, partial(open_database, stack))
        seen.update(crashes=history.crashes, thaws=history.thaws, restores=history.restores)
        seen["database faults"] += history.database_faults
    assert min(seen[what] for what in ("crashes", "thaws", "restores", "database faults")) > 0


@pytest.mark.parametrize("seeds", with_sample(SEEDS, [SAMPLE]))
def test_promise_holds_on_sqlite(seeds: range) -> None:
    live(seeds, open_sqlite)


@pytest.mark.parametrize("seeds", with_sample(SEEDS, [SAMPLE]))
def test_promise_holds_on_postgresql_when_its_connections_are_cut_inside_commit(
    postgres_server: PostgresServer, seeds: range
) -> None:
    opened: list[PostgresKept] = []

    def open_database(stack: ExitStack, host_now: Callable[[], datetime], boot: BootClock) -> KeptDatabase:
        opened.append(open_postgres(postgres_server, stack, host_now, boot))
        return opened[-1]

    live(seeds, open_database)
    assert sum(kept.cuts for kept in opened) > 0
