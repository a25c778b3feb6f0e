"""Readers beside a run, the installed command on both databases: neither waits for the other, however slow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from tests.support.installed_command import COMMAND, PATIENCE, config_of
from tests.support.killing import NAME, Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.records import NOW, make_entry

EVENTS = 3000
"""Several pages, and a multiple of what a pipe holds."""
READERS = (
    ("status",),
    ("plan",),
    ("scan",),
    ("recover", "--dry-run"),
    ("inventory", "list"),
    ("inventory", "show", NAME),
    ("audit", "list"),
    ("audit", "show", "1"),
    ("audit", "verify", "--anchors"),
    ("audit", "export"),
    ("db", "current"),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Signed in, with one PAT adopted."""
    server: PostgresServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
    with open_stage(tmp_path_factory.mktemp("stage"), server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """The stage at its beginning."""
    prepared.reset()
    return prepared


def test_once_rotates_when_an_export_stands_still(stage: Stage) -> None:
    """Whoever reads the export has taken one line and waits, as a pager does; later it gets all the others."""
    database = SqlDatabase(stage.database.url())
    with database.begin() as work:
        for _ in range(EVENTS):
            work.audit.append(make_entry(), NOW)
        newest = work.audit.load_newest_number()
    database.close()
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(stage.sandbox)}
    with subprocess.Popen([COMMAND, "audit", "export"], stdout=subprocess.PIPE, env=environment) as reader:
        assert reader.stdout is not None
        lines = [reader.stdout.readline()]
        run = stage.start_installed("-vv", "once")
        assert run.wait() == 0, run.read()
        assert reader.poll() is None
        lines += reader.stdout.readlines()
        assert reader.wait(PATIENCE) == 0
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, newest + 1))
    stage.check_end()


def test_readers_answer_when_a_transaction_holds_the_record_and_the_log(stage: Stage) -> None:
    """They see what was committed before it."""
    database = SqlDatabase(stage.database.url())
    with database.begin() as work:
        assert work.inventory.load(NAME)
        event = work.audit.append(make_entry("not_committed"), NOW)
        runs = [stage.start_installed(*command) for command in READERS]
        codes = [run.wait() for run in runs]
        shown = "".join(run.read() for run in runs)
    database.close()
    assert codes == [0] * len(READERS), shown
    assert event.entry.event not in shown
