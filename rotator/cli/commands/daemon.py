"""`rotator daemon`: the long-running process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.errors import StoppedError

if TYPE_CHECKING:
    from rotator.daemon.supervisor import Request, Requests


@click.command(
    epilog=examples(
        "rotator daemon                 runs until Ctrl-C or SIGTERM; the log goes to stderr",
        "kill -HUP PID                  reload settings, policy and secrets",
        "kill -USR1 PID                 work now",
    )
)
@common_options
@click.pass_obj
def daemon(cli: CliContext) -> int:
    """Run all the time: rotate what is due, revoke at the end of each overlap, keep sign-ins fresh.

    It stays in the foreground. One daemon works on an SQLite database, any number on PostgreSQL. SIGTERM ends it with 0
    and the first Ctrl-C with 130, once a new value that exists only in memory is in the vault.
    """
    from rotator.cli.exit_codes import INTERRUPTED
    from rotator.cli.memory import stay_small
    from rotator.cli.session import say_in_words
    from rotator.cli.stopping import stop_on_signals
    from rotator.daemon.supervisor import Request, Requests
    from rotator.domain.exit_code import DONE
    from rotator.wiring.daemon import Daemon
    from rotator.wiring.logs import LEVELS, LogOptions, start_logs
    from rotator.wiring.origin import Origin

    stay_small()
    level = "warning" if cli.quiet else LEVELS[min(cli.verbosity + 1, len(LEVELS) - 1)]
    start_logs(LogOptions(sys.stderr, level, words=say_in_words))
    running, requests = Daemon(Origin(cli.config, os.environ, Path.cwd()), os.environ), Requests()
    threading.excepthook = running.tell_dead_thread
    has_terminal = _has_controlling_terminal()
    stops = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if has_terminal else ()))

    def tell(_number: int, finishing: int) -> None:
        running.tell_stop(finishing)
        requests.put(Request.STOP)

    asks = {signal.SIGUSR1: Request.WORK, **({} if has_terminal else {signal.SIGHUP: Request.RELOAD})}
    with _asking(requests, asks), stop_on_signals(running.stop, stops, tell) as signals, suppress(StoppedError):
        running.run(requests)
    return INTERRUPTED if signals.first == signal.SIGINT else DONE


@contextmanager
def _asking(requests: Requests, asks: dict[signal.Signals, Request]) -> Iterator[None]:
    """Inside, each of these signals puts its request into the queue, which is made for that."""

    def receive(number: int, _: FrameType | None) -> None:
        requests.put(asks[signal.Signals(number)])

    before = {number: signal.signal(number, receive) for number in asks}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_controlling_terminal() -> bool:
    """Whether a terminal's end would send us SIGHUP."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
