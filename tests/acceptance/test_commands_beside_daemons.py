"""Commands by hand meet a daemon in the middle of its rotation, on PostgreSQL; afterwards nothing is lost or left over.

The daemon is frozen right after each commit about the record, and at each request that changes something, before and
after its effect: what it only reads changes no phase. The command watches it stay silent, does what it does, and the
daemon thaws. Or the daemon is merely slow: its heart beats, and the command must leave it alone or go together with it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.acceptance.test_frozen_replicas import CALM, freeze_at, open_calm_stage, set_jobs, start, start_forked
from tests.support.by_hand import list_records, settle
from tests.support.daemon import RunningDaemon
from tests.support.killing import NAME, RECORD_COMMITS, Stage
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample
from tests.support.sent import MINT, REVOKE, STORE, TAG, Sent

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

RENAMED, OTHER = "ci-release", "other"
ENDS = (0, 1, 2, 3, 11)
"""Done, refused, or left alone; anything else is a bug."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """Prepare a stage for all tests."""
    with open_calm_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset(lease="1h", to=CALM)
    return prepared


@dataclass(frozen=True)
class Command:
    """What a person says, and what they say afterwards so that everything can come to rest."""

    words: Callable[[Stage], tuple[str, ...]]
    after: tuple[str, ...] = ()


def find_newest(stage: Stage) -> str:
    """The newest of our PATs: the clone, as soon as it is there."""
    return max(stage.find_ours(), key=lambda pat: pat.valid_to).authorization_id


COMMANDS = {
    "rotate": Command(lambda _: ("rotate", NAME)),
    "adopt": Command(
        lambda stage: (
            *("inventory", "adopt", find_newest(stage), "--as", OTHER, "--secret", f"contoso-{OTHER}", "--yes"),
        )
    ),
    "forget": Command(lambda _: ("inventory", "forget", NAME, "--yes")),
    "rename": Command(lambda _: ("inventory", "rename", NAME, RENAMED)),
    "pause": Command(lambda _: ("inventory", "pause", NAME), ("inventory", "resume", NAME)),
    "pause-all": Command(lambda _: ("inventory", "pause", "--all"), ("inventory", "resume", "--all")),
    "revoke": Command(lambda _: ("revoke", NAME, "--yes"), ("rotate", NAME)),
    "revoke-previous": Command(lambda _: ("revoke", NAME, "--previous", "--yes")),
}


def give(stage: Stage, name: str) -> int:
    """Give the command, and return how it ended. Whoever revokes a PAT looks after its consumers."""
    if name == "revoke":
        stage.named = {pat.authorization_id for pat in stage.find_ours()}
    run = stage.start(*COMMANDS[name].words(stage))
    code = run.wait()
    assert code in ENDS, run.read()
    assert "internal_error" not in run.read()
    stage.check_consumers()
    return code


def check_rest(stage: Stage, name: str, code: int) -> None:
    """Let everything come to rest: our live PAT is the one that consumers read, and the inventory's."""
    if COMMANDS[name].after:
        again = stage.start(*COMMANDS[name].after)
        assert again.wait() in ENDS, again.read()
    if name == "revoke" and code == 0:
        stage.named.clear()
    settle(stage)
    if name == "forget" and not list_records(stage):
        stage.check_consumers()
        assert stage.check_owners() == []
        return
    [record] = list_records(stage)
    assert record == (RENAMED if name == "rename" and code == 0 else NAME)
    if [pat.authorization_id for pat in stage.find_ours()] == [stage.original_id]:  # given up, and tried again later
        again = stage.start("rotate", record)
        assert again.wait() == 0, again.read()
        settle(stage)
    stage.run_until_at_rest()
    stage.check_end()


def let_go_on(stage: Stage, daemon: RunningDaemon) -> None:
    """Let the daemon go on until it is through with what it had in hand and has looked for more; then stop it."""
    at = datetime.now(UTC)
    daemon.run.thaw()
    stage.faults.close()
    daemon.send(signal.SIGUSR1)
    daemon.wait_until(lambda: any(moment > at for moment in stage.find_work_begun()))
    assert daemon.stop() == 0, daemon.run.read()


COMMITS = {
    f"{name}-{number}-{commit}": (name, number) for name in COMMANDS for number, commit in enumerate(RECORD_COMMITS)
}
COMMIT_SAMPLE = ("rename-4-pat_minted", "forget-8-overlap_started")


@pytest.mark.parametrize(("name", "number"), with_sample(COMMITS, COMMIT_SAMPLE))
def test_command_and_a_daemon_that_was_frozen_after_a_commit_lose_nothing(stage: Stage, name: str, number: int) -> None:
    frozen = start_forked(stage, "after", number)
    frozen.wait_until(lambda: frozen.run.is_frozen)
    code = give(stage, name)
    let_go_on(stage, frozen)
    check_rest(stage, name, code)


POINTS = {
    f"{sent}-{'after' if effect else 'before'}": (sent, effect)
    for sent in (TAG, MINT, STORE, REVOKE)
    for effect in (False, True)
}
REQUESTS = {f"{name}-{point}": (name, *values) for name in COMMANDS for point, values in POINTS.items()}


@pytest.mark.parametrize(("name", "sent", "effect"), with_sample(REQUESTS, [f"rotate-{MINT}-after"]))
def test_command_and_a_daemon_that_was_frozen_at_a_request_lose_nothing(
    stage: Stage, name: str, sent: Sent, *, effect: bool
) -> None:
    frozen = freeze_at(stage, sent, 0, effect=effect)
    code = give(stage, name)
    let_go_on(stage, frozen)
    check_rest(stage, name, code)


SLOW = {f"{name}-{sent}": (name, sent) for name in COMMANDS for sent in (MINT, STORE, REVOKE)}


@pytest.mark.parametrize(("name", "sent"), with_sample(SLOW, [f"revoke-previous-{REVOKE}"]))
def test_command_and_a_daemon_whose_request_takes_long_lose_nothing(stage: Stage, name: str, sent: Sent) -> None:
    """The request takes effect, and is answered, after the command has ended."""
    set_jobs(stage)
    stage.postpone(sent.service, sent.method, sent.path)
    slow = start(stage)
    slow.wait_until(stage.faults.struck.is_set)
    code = give(stage, name)
    let_go_on(stage, slow)
    check_rest(stage, name, code)
