"""What a signal does to a command that does a run."""

from __future__ import annotations

import os
import signal

import pytest

from rotator.cli import stopping
from rotator.cli.stopping import say_stop, stop_on_signals
from tests.support.clock import FakeClock
from tests.support.stop import make_stop

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_echo_of_a_stop_is_ignored_when_it_comes_after_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager may send SIGHUP after SIGTERM; a run that has nothing to finish is over by then."""
    monkeypatch.setattr(stopping, "_ECHO_SECONDS", 3600.0)  # a host may be slower than two signals of one stop
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may ignore it, as `nohup` does
        with stop_on_signals(make_stop(FakeClock())) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.first == signal.SIGHUP
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "stopping\n"


def test_handlers_are_put_back_when_nothing_was_stopped() -> None:
    before = {number: signal.getsignal(number) for number in HANDLED}
    with stop_on_signals(make_stop(FakeClock())):
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in HANDLED} == before


@pytest.mark.parametrize(
    ("number", "finishing", "said"),
    [
        (signal.SIGINT, 8, "finishing 8 rotations; press Ctrl-C again to stop now"),
        (signal.SIGINT, 1, "finishing 1 rotation; press Ctrl-C again to stop now"),
        (signal.SIGTERM, 8, "finishing 8 rotations"),
    ],
)
def test_stop_says_what_is_finished_and_to_whom_presses_it_how_to_stop_now(
    number: int, finishing: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_stop(number, finishing)
    assert capsys.readouterr().err == f"{said}\n"
