"""The tests' own PostgreSQL: real, recent enough, and one database per test."""

from pathlib import Path

import pytest
import sqlalchemy

from tests.support.postgres import PostgresServer, find_binaries


def test_postgres_database_is_writable_and_recent_when_fresh(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        version = connection.execute(sqlalchemy.text("show server_version_num")).scalar_one()
        connection.execute(sqlalchemy.text("create table mark (id integer)"))
    engine.dispose()
    assert int(version) >= 150000


def test_postgres_database_carries_content_when_made_from_a_template(postgres_server: PostgresServer) -> None:
    template = postgres_server.create_database()
    engine = sqlalchemy.create_engine(postgres_server.url(template))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table mark as select 7 as id"))
    engine.dispose()

    copy = postgres_server.create_database(template)
    engine = sqlalchemy.create_engine(postgres_server.url(copy))
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("select id from mark")).scalars().all()
    engine.dispose()
    postgres_server.drop_database(copy)
    postgres_server.drop_database(template)
    assert rows == [7]


@pytest.mark.usefixtures("postgres_server")
def test_postgres_programs_are_searched_further_when_pg_bin_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    found = find_binaries()
    assert found != tmp_path
    assert (found / "initdb").exists()
