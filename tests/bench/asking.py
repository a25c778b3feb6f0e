"""How often PostgreSQL is asked for one rotation with its revocation: each request is a wait for the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, event

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.engine.run import run_once
from tests.support.engine import EngineWorld, make_world
from tests.support.policies import RULE, make_policy
from tests.support.postgres import PostgresServer

_FEW, _MORE = 2, 12


@dataclass(frozen=True)
class Asked:
    """Requests to the database for one PAT: statements and commits."""

    statements: float
    commits: float


def measure_requests() -> Asked:
    """Rotate few and some more PATs, without an overlap, beside fakes of the services: the difference is theirs."""
    server = PostgresServer()
    try:
        (few, few_commits), (more, more_commits) = (_count(server, pats) for pats in (_FEW, _MORE))
    finally:
        server.stop()
    added = _MORE - _FEW
    return Asked((more - few) / added, (more_commits - few_commits) / added)


def _count(server: PostgresServer, pats: int) -> tuple[int, int]:
    url = server.url(server.create_database())
    upgrade(url)
    database, world = SqlDatabase(url), _make_world(pats)
    with database.begin() as work:
        for number in range(pats):
            work.inventory.add(world.record(f"pat-{number}"))
    services = replace(world.make_services(), database=database, closing_database=database)
    run, counts = world.make_run(services), {"statements": 0, "commits": 0}

    def note(what: str) -> Callable[..., None]:
        def noting(*_: object) -> None:
            counts[what] += 1

        return noting

    listeners = (("after_cursor_execute", note("statements")), ("commit", note("commits")))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        report = run_once(run)
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)
        database.close()
    assert len(report.outcomes) >= pats, report
    return counts["statements"], counts["commits"]


def _make_world(pats: int) -> EngineWorld:
    """PATs that are due, by the clock of the server."""
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(0))))
    world.clock.advance(datetime.now(UTC) - world.clock.now())
    for number in range(pats):
        world.add_managed(f"pat-{number}")
    return world
