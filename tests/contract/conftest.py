"""Fixtures of the contract suites: the database port, three times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.managed_pat import ManagedPat
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.fake_database import MemoryDatabase
from tests.support.postgres import PostgresServer
from tests.support.records import NOW


class ClosableDatabase(Database, Protocol):
    """The port, and the end of its use."""

    def close(self) -> None:
        """Close every connection."""


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a PostgreSQL database with the schema and nothing in it."""
    name = postgres_server.create_database()
    upgrade(postgres_server.url(name))
    return name


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClosableDatabase]:
    """An empty database of each kind."""
    if request.param == "memory":
        yield MemoryDatabase(host_now=lambda: NOW)
        return
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/rotator.db"
        upgrade(url)
        real = SqlDatabase(url, host_now=lambda: NOW)
        yield real
        real.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database(request.getfixturevalue("postgres_template"))
    real = SqlDatabase(server.url(name))
    yield real
    real.close()
    server.drop_database(name)


@pytest.fixture
def adopt(database: Database) -> Callable[[ManagedPat], Claim]:
    """Adds a record and claims it for `run-1` for five minutes."""

    def add_and_claim(pat: ManagedPat) -> Claim:
        with database.begin() as work:
            work.inventory.add(pat)
            return work.claims.claim(pat.name, "run-1", now=NOW, span=timedelta(minutes=5))

    return add_and_claim
