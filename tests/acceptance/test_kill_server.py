"""A PostgreSQL server is killed inside a COMMIT of a run: nothing is lost, whether the COMMIT took effect or not.

The run is a process of its own and is given no answer. Either the whole server dies, as when its host does, or one
session: then the server ends all others, and recovers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.support.killing import CHANGES, Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove

HOLD_COMMITS = """
    CREATE FUNCTION wait_in_commit() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait_in_commit AFTER INSERT ON audit_event DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_in_commit();
"""
FIND_HELD = "SELECT pid FROM pg_stat_activity WHERE wait_event = %s AND query = 'COMMIT'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of these tests alone: every session of it dies with it."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: signed in, with one PAT adopted."""
    with open_stage(tmp_path_factory.mktemp("stage"), server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


@contextmanager
def holding_commits(stage: Stage, *, kept: bool) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Hold every COMMIT of an audit event: after it is on the disk and before its answer, or before it takes effect."""
    url = make_url(stage.database.url())
    session = psycopg.connect(host=str(url.query["host"]), user="postgres", dbname=url.database, autocommit=True)
    if kept:
        session.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        session.execute("SELECT pg_reload_conf()")
    else:
        session.execute(HOLD_COMMITS)
        session.execute("SELECT pg_advisory_lock(4711)")
    try:
        yield session
    finally:
        session.close()


def find_held(session: psycopg.Connection[tuple[object, ...]], *, kept: bool) -> int:
    """Return the session that stands inside COMMIT, as soon as there is one."""
    for _ in range(6000):
        found = session.execute(FIND_HELD, ["SyncRep" if kept else "advisory"]).fetchone()
        if found is not None:
            if kept:
                session.execute("ALTER SYSTEM RESET synchronous_standby_names")  # read once the server is there again
            return int(str(found[0]))
        session.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("no COMMIT is held")


def kill(server: PostgresServer, session: int, *, whole: bool) -> None:
    """Kill the server or one session, and have a server again."""
    if whole:
        server.kill()
        server.resume()
    else:
        server.kill_session(session)
        server.read_settings_anew()


CASES = {
    f"{change[1]}-{'kept' if kept else 'lost'}-{'server' if whole else 'session'}": (*change, kept, whole)
    for change, kept, whole in product(CHANGES, (True, False), (True, False))
}
SAMPLE = ("POST-kept-server", "POST-lost-session")


@pytest.mark.parametrize(("service", "method", "path", "kept", "whole"), with_sample(CASES, SAMPLE))
def test_run_loses_nothing_when_its_server_is_killed_inside_commit(
    stage: Stage, server: PostgresServer, service: str, method: str, path: str, kept: bool, whole: bool
) -> None:
    stage.postpone(service, method, path)
    run = stage.start_and_hold()
    with holding_commits(stage, kept=kept) as session:
        stage.faults.close()
        kill(server, find_held(session, kept=kept), whole=whole)
    assert run.wait() in (0, 1, 3), run.read()
    stage.check_consumers()
    stage.check_secrecy()
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.parametrize("kept", [True, False])
def test_run_gives_a_value_up_when_its_server_stays_away_longer_than_its_claim_lasts(
    stage: Stage, server: PostgresServer, kept: bool
) -> None:
    """Until then it tries again, because the value of the new PAT exists nowhere else."""
    stage.reset(lease="4s")
    stage.postpone(*CHANGES[0])
    run = stage.start_and_hold()
    with holding_commits(stage, kept=kept) as session:
        stage.faults.close()
        find_held(session, kept=kept)
        server.kill()
    try:
        assert run.wait() == 1, run.read()
    finally:
        server.resume()
    assert "cannot be reached" in run.read()
    assert len(stage.find_ours()) == 2
    settings = stage.sandbox.addresses.config_path
    settings.write_text(settings.read_text(encoding="utf-8").replace("lease: 4s", "lease: 1m"), encoding="utf-8")
    stage.run_until_at_rest()
    stage.check_end()
