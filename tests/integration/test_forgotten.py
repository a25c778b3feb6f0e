"""A rotation whose record is gone is closed in real databases: what stands in for it there breaks no rule of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.next_step import LONG_AGO
from rotator.domain.rotation import RotationState
from rotator.engine.forgotten import RECORD_GONE, close_forgotten
from rotator.engine.log_checking import check_log
from tests.support.engine import NAME, make_world
from tests.support.postgres import PostgresServer
from tests.support.records import make_managed_pat, make_rotation


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/rotator.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


def test_open_rotation_is_closed_when_its_record_is_gone(url: str) -> None:
    upgrade(url)
    world = make_world()
    database = SqlDatabase(url, host_now=world.clock.now)
    other = make_managed_pat("other")
    with database.begin() as work:
        work.inventory.add(other)
        work.inventory.add(world.record())
        claim = work.claims.claim(NAME, "a person", now=work.now(), span=timedelta(minutes=5))
        work.journal.insert(make_rotation(name=NAME), claim)
        work.inventory.remove(NAME, claim)
    run = world.make_run(replace(world.make_services(), database=database, closing_database=database))
    (closed,) = close_forgotten(run)
    with database.read() as reading:
        (kept,) = reading.journal.load_leaving(LONG_AGO)
        assert [pat.name for pat in reading.inventory.load_all()] == ["other"]
    assert (kept.state, kept.failure and kept.failure.code) == (RotationState.FAILED, RECORD_GONE)
    assert kept.failure == closed.failure
    assert close_forgotten(run) == ()
    check_log(database)
    database.close()
