"""A run is stopped by a signal while a request is open: it finishes what exists only in memory, and begins nothing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import termios
from collections.abc import Mapping

import pytest

from rotator.sandbox.faults import Fault
from tests.support.installed_command import COMMAND, PATIENCE, config_of
from tests.support.killing import MINTED, Run, Stage
from tests.support.phases import IDENTITY, MINT, PHASES, REVOKE, TAG
from tests.support.proving import with_sample
from tests.support.terminal import start_on_terminal

pytestmark = pytest.mark.prove

_DISCOVERY = ("entra", "GET", "openid-configuration")
_VERSIONS = ("key_vault", "GET", "/versions")
CHAINS: dict[str, tuple[tuple[str, str, str], int]] = {
    "refresh": (_DISCOVERY, 0),
    "challenge": (_VERSIONS, 0),
    "pages": (_VERSIONS, 2),
}
"""The first request of each chain, or one in its middle, with how many like it came before."""
ENDS = {signal.SIGTERM: 0, signal.SIGHUP: 0, signal.SIGINT: 130}
"""The exit codes of `once`: a person's Ctrl-C has its own, else what was done counts."""
CASES: Mapping[str, tuple[object, ...]] = {
    f"{number.name}-{phase}": (number, phase) for number in (signal.SIGTERM, signal.SIGINT) for phase in PHASES
} | {"SIGHUP-store": (signal.SIGHUP, "store")}


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    return prepared


@pytest.mark.parametrize(("number", "phase"), with_sample(CASES, ["SIGTERM-mint", "SIGINT-store", "SIGINT-revoke"]))
def test_run_finishes_what_it_must_and_begins_nothing_when_a_signal_stops_it(
    stage: Stage, number: signal.Signals, phase: str
) -> None:
    request, skip, states, is_finishing = PHASES[phase]
    run = start_and_stop(stage, "once", request=request, skip=skip, number=number)
    before = len(stage.world.record.all())
    stage.faults.close()
    assert run.wait() == ENDS[number], run.read()
    after = stage.world.record.all()[before:]
    assert bool(after) == (is_finishing and phase != "read back"), after
    assert (stage.find_open_states(), stage.find_claims()) == (states, [])
    said = run.errors.read_text(encoding="utf-8")
    assert ("finishing 1 rotation" in said, "stopping" in said) == (is_finishing, not is_finishing)
    assert ("press Ctrl-C again" in said) == (number == signal.SIGINT)
    assert "Stopped before everything was done" in said
    assert run.output.read_text(encoding="utf-8").startswith("rotated  ci-build") == (
        phase not in ("look", "preflight")
    )
    assert "Traceback" not in said
    assert not {"rotation_failed", "rotation_blocked"} & set(stage.find_events())
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.sample
@pytest.mark.parametrize(("request_of", "skip"), CHAINS.values(), ids=CHAINS)
def test_chain_of_requests_ends_where_a_signal_stops_it(
    stage: Stage, request_of: tuple[str, str, str], skip: int
) -> None:
    """A library sends them one after the other: a refresh, a challenge, a list of many pages."""
    stage.add_versions(80)
    if request_of == _DISCOVERY:
        stage.world.access_tokens.clear()
    run = start_and_stop(stage, "once", request=request_of, skip=skip, number=signal.SIGTERM)
    before = len(stage.world.record.all())
    stage.faults.close()
    assert run.wait() == 0, run.read()
    assert stage.world.record.all()[before:] == []
    assert (stage.find_open_states(), stage.find_claims()) == ([], [])
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.sample
@pytest.mark.parametrize("is_open", [True, False])
def test_mint_that_the_rate_limit_refused_is_not_sent_again_after_the_stop(stage: Stage, is_open: bool) -> None:
    """The signal comes while the POST is open, or while the run waits to send it again."""
    stage.postpone(*MINT)
    service, method, path = MINT
    stage.faults.add(Fault(service, "rate_limited", method=method, path=path, seconds=5))
    run = stage.start_installed("once")
    assert stage.faults.struck.wait(PATIENCE)
    if not is_open:
        stage.land()
    stop(run, signal.SIGTERM)
    before = len(stage.world.record.all())
    stage.faults.close()
    assert run.wait() == 0, run.read()
    assert stage.world.record.all()[before:] == []
    assert len(stage.find_ours()) == 1
    assert (stage.find_open_states(), stage.find_claims()) == (["minting"], [])
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.sample
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_the_process_at_once(stage: Stage, number: signal.Signals) -> None:
    run = start_and_stop(stage, "once", request=MINT, number=number)
    while run.process.poll() is None:
        run.process.send_signal(number)
        try:
            run.process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert run.process.returncode == 128 + number
    assert "Traceback" not in run.read()
    assert stage.find_open_states() == ["minting"]
    stage.land()
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rotation_by_hand_is_no_success_when_it_was_stopped(stage: Stage, number: signal.Signals) -> None:
    run = start_and_stop(stage, "rotate", "ci-build", "--json", request=TAG, number=number)
    stage.faults.close()
    assert run.wait() == 128 + number
    document = json.loads(run.output.read_text(encoding="utf-8"))
    assert (document["rotated"], document["failed"]) == ([], [])
    assert "Traceback" not in run.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_recovery_stops_as_well(stage: Stage, number: signal.Signals) -> None:
    stage.die("after", MINTED + 1)  # its settings are new, which the run notes first
    run = start_and_stop(stage, "recover", request=IDENTITY, number=number)
    stage.faults.close()
    assert run.wait() == 128 + number
    assert stage.find_open_states() == ["minted"]
    stage.run_until_at_rest()
    stage.check_end()


def test_revocation_by_hand_is_no_success_when_it_was_stopped(stage: Stage) -> None:
    run = start_and_stop(stage, "revoke", "ci-build", "--yes", request=REVOKE, number=signal.SIGTERM)
    stage.faults.close()
    assert run.wait() == 128 + signal.SIGTERM
    assert run.errors.read_text(encoding="utf-8").splitlines() == ["stopping", "stopped"]
    assert (run.output.read_text(encoding="utf-8"), stage.find_claims()) == ("", [])


@pytest.mark.sample
def test_run_finishes_what_it_must_when_its_terminal_is_gone(stage: Stage) -> None:
    """The terminal's end is a SIGHUP, and every later line that the run prints would fail."""
    stage.postpone(*MINT)
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(stage.sandbox)}
    process, ours = start_on_terminal([COMMAND, "once"], environment, stage.folder)
    assert stage.faults.struck.wait(PATIENCE)
    assert fcntl.ioctl(ours, termios.FIONREAD, bytes(4))
    os.close(ours)
    stage.land()
    assert process.wait(PATIENCE) == 0
    assert (stage.find_open_states(), stage.find_claims()) == (["overlapping"], [])
    stage.run_until_at_rest()
    stage.check_end()


def start_and_stop(
    stage: Stage, *arguments: str, request: tuple[str, str, str], skip: int = 0, number: signal.Signals
) -> Run:
    """Start a command, send the signal when the request is open, and return when the command has said that it stops."""
    stage.postpone(*request, skip)
    run = stage.start_installed(*arguments)
    while not stage.faults.struck.wait(0.2):
        assert run.process.poll() is None, "the run ended before the request:\n" + run.read()
    stop(run, number)
    return run


def stop(run: Run, number: signal.Signals) -> None:
    """Send the signal, and return when the command has said that it stops."""
    run.process.send_signal(number)
    while not any(word in run.read() for word in ("stopping", "finishing")):
        assert run.process.poll() is None, run.read()
