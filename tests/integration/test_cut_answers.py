"""PostgreSQL's answers are cut, each one of a rotation: before it, or in the middle of it.

One request has several statements: BEGIN with the limits and the clock, the lock of the audit log with its last event,
a savepoint with a question. What is cut in the middle says that some of them were done, and nothing of the others.
"""

from __future__ import annotations

from contextlib import closing, suppress
from datetime import timedelta

import pytest
from sqlalchemy.engine import make_url

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import load_events
from rotator.engine.log_checking import check_log
from rotator.engine.run import run_once
from rotator.errors import DatabaseUnreachableError
from rotator.ports.audit_log import AuditFilter
from tests.integration.test_database_faults import EVENTS, make_database, make_run
from tests.support.commit_proxy import CommitProxy
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]

PARTS = {"before": 0.0, "in the middle": 0.5}
_MOST_RUNS = 6


@pytest.mark.parametrize(
    ("part", "first", "stride"),
    with_sample(
        {f"{name}-{first}": (part, first, 4) for name, part in PARTS.items() for first in range(4)}
        | {f"{name}-few": (part, 2, 31) for name, part in PARTS.items()},
        [f"{name}-few" for name in PARTS],
    ),
)
def test_rotation_is_made_once_when_an_answer_of_postgresql_is_cut(
    postgres_server: PostgresServer, part: float, first: int, stride: int
) -> None:
    """Whatever the process knew of it: the next runs finish it, and each step is told once."""
    empty = postgres_server.create_database()
    upgrade(postgres_server.url(empty))
    proxy = CommitProxy(f"{postgres_server.room}/.s.PGSQL.5432")
    number, is_cut = first, True
    while is_cut:
        name = postgres_server.create_database(empty)
        is_cut = rotate_with_a_cut(postgres_server.url(name), proxy, number, part)
        postgres_server.drop_database(name)
        number += stride
    assert number > 200
    proxy.close()
    postgres_server.drop_database(empty)


def rotate_with_a_cut(url: str, proxy: CommitProxy, number: int, part: float) -> bool:
    """Rotate one PAT, with that answer cut; return whether there are so many."""
    world = make_world()
    [original] = world.live_ids()
    make_database(url, world).close()
    place = f"127.0.0.1:{proxy.port}/{make_url(url).database}"
    before = proxy.cuts
    for count in range(_MOST_RUNS):
        database = SqlDatabase(
            f"postgresql+psycopg://postgres@{place}?sslmode=disable&gssencmode=disable",
            lock_wait=timedelta(seconds=5),
            is_gone=lambda _: True,  # the run before has ended
        )
        if count == 0:
            proxy.cut_answer(number, part)
        with closing(database), suppress(DatabaseUnreachableError):
            run_once(make_run(world, database))
        world.advance(minutes=11)
        if is_rotated(world, url, original):
            break
    else:
        raise AssertionError(f"answer {number}: not rotated after {_MOST_RUNS} runs")
    return proxy.cuts > before


def is_rotated(world: EngineWorld, url: str, original: str) -> bool:
    """Whether it is done; then: once, as the inventory has it, and each step is in the log once."""
    database = SqlDatabase(url)
    with database.read() as reading:
        record, open_ones = reading.inventory.load(NAME), reading.journal.load_open_for([NAME])
    assert record is not None
    told = [event.entry.event for event in load_events(database, AuditFilter(subject=NAME))]
    check_log(database)
    database.close()
    if "overlap_started" not in told:
        return False
    assert [found.state for found in open_ones] == [RotationState.OVERLAPPING]
    assert sorted(world.live_ids()) == sorted((record.authorization_id, original))
    assert world.pats.pats[record.authorization_id].value == world.latest().value.reveal()
    # What nobody knew to be committed was not sent, and is begun once more.
    assert told.count("rotation_planned") == 1 + told.count("rotation_abandoned")
    assert 1 <= told.count("mint_started") <= told.count("rotation_planned") <= 2
    assert [told.count(event) for event in EVENTS[2:]] == [1] * len(EVENTS[2:])
    assert world.count("mint") == 1
    return True
