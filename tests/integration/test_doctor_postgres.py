"""`rotator doctor` on a PostgreSQL server of its own, which is set up as nobody should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.domain.checkup import Grade
from rotator.sandbox.running import Sandbox
from tests.support.postgres import PostgresMissingError, PostgresServer
from tests.support.ward import Ward, find_problems, say

FAIL, WARN = Grade.FAIL, Grade.WARN
NO_FSYNC = ("durability", "fsync", FAIL)
"""The tests' servers run without it."""
CHECKS = ("database", "durability", "backup")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that no other test uses."""
    try:
        server = PostgresServer()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def ward(server: PostgresServer, tmp_path: Path) -> Iterator[Ward]:
    """An installation whose database is on that server."""
    url = server.url(server.create_database())
    upgrade(url)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        ward = Ward(sandbox)
        ward.change("rotator.yaml", database=url)
        yield ward


def _administer(server: PostgresServer, *statements: str) -> None:
    with psycopg.connect(server.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _wait_for(server: PostgresServer, condition: str) -> None:
    """Wait in the server until that is true."""
    loop = (
        f"DO $$ BEGIN WHILE NOT ({condition}) LOOP PERFORM pg_sleep(0.05), pg_stat_clear_snapshot(); END LOOP; END $$"
    )
    _administer(server, loop)


def test_durability_fails_without_fsync(ward: Ward) -> None:
    results = ward.examine(*CHECKS)
    assert find_problems(results) == [NO_FSYNC], say(results)
    assert "PostgreSQL 1" in say(results)


def test_durability_is_doubted_with_a_standby_that_no_commit_waits_for(server: PostgresServer, ward: Ward) -> None:
    with server.following("standby"):
        _wait_for(server, "EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
        results = ward.examine(*CHECKS)
        assert find_problems(results) == [NO_FSYNC, ("durability", "synchronous_standby_names", WARN)], say(results)
        _administer(server, "ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
        _wait_for(server, "EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
        assert find_problems(ward.examine(*CHECKS)) == [NO_FSYNC]
        _administer(server, "ALTER DATABASE test_1 SET synchronous_commit = local")
        assert find_problems(ward.examine(*CHECKS)) == [NO_FSYNC, ("durability", "synchronous_commit", WARN)]
        _administer(server, "ALTER DATABASE test_1 RESET synchronous_commit")
    _wait_for(server, "NOT EXISTS (SELECT FROM pg_stat_replication)")
    results = ward.examine(*CHECKS)
    assert find_problems(results) == [NO_FSYNC, ("durability", "synchronous_standby_names", FAIL)], say(results)


def test_backup_fails_when_the_server_cannot_archive_its_log(server: PostgresServer, ward: Ward) -> None:
    _administer(server, "ALTER SYSTEM SET archive_mode = on", "ALTER SYSTEM SET archive_command = 'true'")
    server.halt()
    server.resume()
    assert find_problems(ward.examine("backup")) == []
    assert [each.name for each in ward.examine("backup")] == ["backup"]
    _administer(server, "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    _administer(server, "CREATE TABLE written (number int)", "SELECT pg_switch_wal()")
    _wait_for(server, "EXISTS (SELECT FROM pg_stat_archiver WHERE last_failed_time IS NOT NULL)")
    results = ward.examine("backup")
    assert find_problems(results) == [("backup", "", FAIL)], say(results)


def test_disk_space_is_doubted_when_nothing_cleans_up_on_the_server(ward: Ward) -> None:
    """As on the tests' servers, which are small and short-lived; by default a server does."""
    results = ward.examine("disk_space")
    assert find_problems(results) == [("disk_space", "autovacuum", WARN)], say(results)
    usual = PostgresServer(autovacuum="on")
    try:
        url = usual.url(usual.create_database())
        upgrade(url)
        ward.change("rotator.yaml", database=url)
        assert find_problems(ward.examine("disk_space")) == []
    finally:
        usual.stop()


def test_database_fails_when_its_server_is_away(server: PostgresServer, ward: Ward) -> None:
    server.halt()
    results = ward.examine(*CHECKS, "inventory", "clock")
    assert find_problems(results) == [("database", "", FAIL), ("clock", "host", WARN)], say(results)
    assert "so not checked: durability, backup, inventory" in say(results)
    server.resume()
