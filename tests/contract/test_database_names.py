"""The names that a shell completes: read at once from either database, and nothing is left beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.names import load_names
from rotator.adapters.database.unit_of_work import SqlDatabase
from tests.support.records import make_managed_pat


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/rotator.db"
    address: str = request.getfixturevalue("postgres_url")
    return address


@pytest.fixture
def database(url: str) -> Iterator[SqlDatabase]:
    """That database, with two records."""
    upgrade(url)
    opened = SqlDatabase(url)
    with opened.begin() as work:
        for name in ("npm-feed", "ci-build"):
            work.inventory.add(make_managed_pat(name))
    yield opened
    opened.close()


def test_names_are_read_while_others_have_the_database_open_and_write(url: str, database: SqlDatabase) -> None:
    with database.begin() as work:
        work.inventory.add(make_managed_pat("not-committed"))
        assert load_names(url) == ("ci-build", "npm-feed")


def test_names_are_none_while_an_upgrade_keeps_them_locked(postgres_url: str) -> None:
    """A shell that completes a name hangs while we wait."""
    upgrade(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE managed_pat")
        asked = threading.Thread(target=load_names, args=(postgres_url,))
        asked.start()
        asked.join(20)
        assert not asked.is_alive()


def test_nothing_is_made_beside_a_database_that_nobody_has_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rotator.db"
    assert load_names(url) == ()
    assert list(tmp_path.iterdir()) == []
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        work.inventory.add(make_managed_pat("npm-feed"))
    database.close()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert load_names(url) == ("npm-feed",)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_names_are_none_where_they_cannot_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rotator.db"
    url = f"sqlite:///{path}"
    path.write_bytes(b"")
    assert load_names(url) == ()
    path.write_text("no database\n" * 100, encoding="utf-8")
    assert load_names(url) == ()
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE managed_pat (name TEXT)")
        other.execute("BEGIN EXCLUSIVE")
        assert load_names(url) == ()
    assert load_names(f"sqlite:///{tmp_path}/no/where.db") == ()
    assert load_names("postgresql+psycopg://nobody@127.0.0.1:1/nothing") == ()
