"""Runs on PostgreSQL are killed: at the requests that change something, and at every kind of commit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import make_url

from rotator.sandbox.faults import Fault
from tests.support.commit_proxy import CommitProxy
from tests.support.daemon import reach_database, start_daemon, write_settings
from tests.support.killing import CHANGES, COMMITS, NAME, Stage, open_stage, read_commits
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove

EVERY_COMMIT = [*COMMITS[:2], "settings_changed", *COMMITS[2:4], "timeline_reconciled", *COMMITS[4:]]
"""Those of SQLite, and that the first run on a server notes its timeline, and its settings, which name the server."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage: signed in, with one PAT adopted."""
    with open_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


@pytest.mark.sample
def test_rotation_makes_exactly_the_commits_that_are_killed_when_on_postgresql(stage: Stage) -> None:
    run = stage.start("once", dying=("never", 0))
    assert run.wait() == 0, run.read()
    assert read_commits(run) == EVERY_COMMIT
    stage.check_end()


REQUESTS = {
    f"{change[1]}-{'after' if effect else 'before'}": (*change, effect)
    for change in CHANGES
    for effect in (False, True)
}


@pytest.mark.parametrize(("service", "method", "path", "effect"), with_sample(REQUESTS, ["PUT-after"]))
def test_once_loses_nothing_when_killed_at_a_request_on_postgresql(
    stage: Stage, service: str, method: str, path: str, effect: bool
) -> None:
    stage.hold(service, method, path, effect=effect)
    stage.start_and_hold().kill()
    stage.faults.close()
    stage.run_until_at_rest()
    stage.check_end()


# Just after one commit is just before the next: one side is enough here; SQLite has both.
KILLED = {f"{number}-{commit}": (number,) for number, commit in enumerate(EVERY_COMMIT)}


@pytest.mark.parametrize("number", with_sample(KILLED, ["10-pat_minted", "17-rotation_completed"]))
def test_once_loses_nothing_when_killed_at_a_commit_on_postgresql(stage: Stage, number: int) -> None:
    stage.die("before", number)
    stage.run_until_at_rest()
    stage.check_end()


THROTTLED = {change[1]: change for change in CHANGES if change[0] == "azure_devops"}


@pytest.mark.parametrize(("service", "method", "path"), with_sample(THROTTLED, []))
def test_daemon_that_is_cut_off_while_it_waits_sends_nothing_any_more(
    stage: Stage, service: str, method: str, path: str
) -> None:
    """It waits for a rate limit; meanwhile others may have taken over, long before its lease ends."""
    stage.reset(lease="30s")
    place = make_url(stage.database.url())
    proxy = CommitProxy(f"{place.query['host']}/.s.PGSQL.5432")
    there = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/{place.database}?sslmode=disable&gssencmode=disable"
    write_settings(stage, heartbeat="2s", work="1s")
    stage.faults.add(Fault(service, "status", method=method, path=path, status=429, headers={"Retry-After": "15"}))
    daemon = start_daemon(stage, reach_database(stage, there), heartbeat="2s", work="1s")
    daemon.wait_until(lambda: _list_sent(stage, service, method, path) == 1)
    proxy.cut_off()
    daemon.wait_until(lambda: any(line.get("job") == "work" for line in daemon.read_log()))  # it has given up
    assert _list_sent(stage, service, method, path) == 1
    daemon.run.kill()
    proxy.close()
    stage.run_until_at_rest()
    stage.check_end()


def _list_sent(stage: Stage, service: str, method: str, path: str) -> int:
    sent = stage.world.record.all(service, method)
    return sum(path in entry.path and entry.auth == "Bearer" for entry in sent)


@pytest.mark.sample
def test_one_rotation_is_made_when_two_runs_start_together_on_postgresql(stage: Stage) -> None:
    runs = [stage.start("-vv", "once") for _ in range(2)]
    codes = [run.wait() for run in runs]
    assert 0 in codes, runs[0].read() + runs[1].read()
    assert set(codes) <= {0, 11}
    with stage.world.lock:
        named = [pat for pat in stage.world.pats.values() if pat.display_name == NAME]
    assert len(named) - len(stage.by_people) == 2  # the old one and its clone
    stage.run_until_at_rest()
    stage.check_end()


def test_second_run_is_held_off_when_the_first_stands_still_on_postgresql(stage: Stage) -> None:
    stage.hold(*CHANGES[0])
    frozen = stage.start_and_hold()
    frozen.freeze()
    second = stage.start("once", "--json")
    assert second.wait() == 11, second.read()
    assert stage.find_open_states() == ["minting"]
    frozen.kill()
    stage.faults.close()
    stage.run_until_at_rest()
    stage.check_end()
