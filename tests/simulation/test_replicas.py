"""Random histories whose replicas are processes with connections of their own, on SQLite and on PostgreSQL.

SIGKILL ends some of them between the answer to a POST and its COMMIT; others are stopped there while replicas take
over, and go on when the world has moved. The oracle is that of all histories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime
from functools import partial

import pytest

from rotator.errors import RotatorError
from rotator.ports.clock import BootClock
from tests.simulation.databases import KeptDatabase, open_postgres, open_sqlite
from tests.simulation.replicas import simulate_replicas, take_fence_out
from tests.simulation.world import InvariantError
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

SAMPLE = "a few"
SEEDS = {SAMPLE: (range(53, 56),), **{f"from {first}": (range(first, first + 25),) for first in (100, 200, 300, 400)}}
"""In the few one dies between POST and COMMIT, and one thaws after another took over."""
SERVER_SEEDS = {**SEEDS, SAMPLE: ((53, 57),)}
"""On a server one of these is a daemon that was cut off from it, and one a daemon that was frozen: both lost claims."""
FENCELESS = range(9, 39)
"""One of these histories, on SQLite, breaks without the fence of claims."""
Open = Callable[[ExitStack, Callable[[], datetime], BootClock], KeptDatabase]

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]


def live(seeds: Iterable[int], open_database: Open, *, is_server: bool = False) -> None:
    """Live through these histories, each on a database of its own; a broken promise raises."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        with ExitStack() as stack:
            history = simulate_replicas(seed, partial(open_database, stack))
        seen.update(kills=history.crashes, between=history.killed_before_commit, thaws=history.thaws)
        seen.update(cuts=history.cuts, lost_by_heartbeat=history.lost_by_heartbeat)
    what = ("kills", "between", "thaws", *(("cuts", "lost_by_heartbeat") if is_server else ()))
    assert min(seen[found] for found in what) > 0, seen


@pytest.mark.parametrize("seeds", with_sample(SEEDS, [SAMPLE]))
def test_promise_holds_on_sqlite_when_replicas_are_killed_or_stopped(seeds: range) -> None:
    live(seeds, open_sqlite)


@pytest.mark.parametrize("seeds", with_sample(SERVER_SEEDS, [SAMPLE]))
def test_promise_holds_on_postgresql_when_replicas_are_killed_or_stopped(
    postgres_server: PostgresServer, seeds: Iterable[int]
) -> None:
    """In half of these histories daemons lose their claims by their heartbeats: frozen, or cut off from the server."""
    live(seeds, partial(open_postgres, postgres_server), is_server=True)


def test_promise_breaks_without_the_fence_of_claims() -> None:
    """Every change gives a seed another history: where the first one shows nothing any more, one after it must."""
    assert any(is_broken(seed, take_fence_out) for seed in FENCELESS)


def is_broken(seed: int, prepare: Callable[[], None]) -> bool:
    """Whether the history of a seed breaks the promise."""
    with ExitStack() as stack:
        try:
            simulate_replicas(seed, partial(open_sqlite, stack), prepare)
        except (InvariantError, RotatorError):
            return True
    return False
