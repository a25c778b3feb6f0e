"""Do a run and report what it did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rotator.cli.console import echo, note, print_json, progress, say, shows_progress
from rotator.cli.context import CliContext, is_terminal
from rotator.cli.counting import Count
from rotator.cli.held_log import HeldLog
from rotator.cli.output.report import render_done, render_failures, render_standing, render_totals
from rotator.cli.stopping import stop_on_signals
from rotator.documents.report import make_report_document
from rotator.domain.events.event import Event
from rotator.domain.plan import Plan
from rotator.engine.context import RunContext, RunMode
from rotator.engine.needs import Need, count_needs
from rotator.engine.planning import make_plan
from rotator.engine.report import RunReport, RunSkewedError
from rotator.engine.sealing import sealed
from rotator.engine.status import status_from
from rotator.errors import StoppedError
from rotator.ports.progress import Progress

if TYPE_CHECKING:
    from rotator.wiring.installation import Installation


def print_report(
    cli: CliContext,
    installation: Installation,
    act: Callable[[RunContext], RunReport],
    *,
    what: str,
    mode: RunMode = RunMode.DUE,
    otherwise: str = "Nothing to do.",
    count: Callable[[RunContext], int] | None = None,
) -> int:
    """Do the run and print its report: what was done on stdout, what failed on stderr. Return the exit code."""
    with stop_on_signals(installation.stop) as signals:
        report = do_and_print(cli, installation, act, what=what, mode=mode, otherwise=otherwise, count=count)
    return signals.choose_exit_code(report, mode)


def do_and_print(
    cli: CliContext,
    installation: Installation,
    act: Callable[[RunContext], RunReport],
    *,
    what: str,
    mode: RunMode = RunMode.DUE,
    otherwise: str = "Nothing to do.",
    looks: bool = False,
    count: Callable[[RunContext], int] | None = None,
) -> RunReport:
    """Do the run and print its report, inside the caller's `stop_on_signals`. Return the report.

    What it tells in words is not logged as well, unless the log was asked for with `-v`. `count` says how many PATs are
    to be worked on, for a terminal to show how far the run is.
    """
    run = installation.make_run(cli.reason)
    log = HeldLog(run.progress)
    if cli.as_json or cli.verbosity:
        log.release()
    report = None
    try:
        with progress(cli, what) as update:
            counted = Count(count(run) if count is not None and shows_progress(cli) else 0)
            report = sealed(act, looks=looks)(replace(run, progress=_tell_both(log, update, counted)))
    except RunSkewedError as error:
        log.release(error.report, is_skewed=True)
        raise
    finally:
        log.release(report, is_counted=report is not None and _is_counted(cli, report, mode))
    if cli.as_json:
        # What is blocked or held back, and was left alone, is no news, but scripts want the whole list.
        plan = _make_plan(run)
        print_json(make_report_document(report, () if plan is None else plan.actions))
    else:
        together = is_terminal(sys.stdout) and not cli.verbosity
        done = list(render_done(report, run.services.clock.now(), together=together))
        is_ended = not (report.is_stopped or cli.quiet)
        plan = _make_plan(run) if is_ended and mode is RunMode.DUE else None
        needs = {} if plan is None else _count_needs(run)
        standing = [] if plan is None or report.outcomes else list(render_standing(plan, needs))
        print_lines(cli, report, done, otherwise="Nothing was done." if standing else otherwise)
        for line in standing or (render_totals(report, plan, needs) if is_ended and done else ()):
            say(cli, line)
    note_stop(cli, report)
    return report


def _is_counted(cli: CliContext, report: RunReport, mode: RunMode) -> bool:
    """Whether a person on a terminal is going to read how many PATs wait for one: a log is not needed beside that."""
    is_summed = mode is RunMode.DUE and not (report.is_stopped or cli.quiet)
    return is_summed and is_terminal(sys.stderr) and is_terminal(sys.stdout)


def _make_plan(run: RunContext) -> Plan | None:
    """Return what stands now; None after a stop, which may have come when the run was over."""
    try:
        return make_plan(run)
    except StoppedError:
        return None


def _count_needs(run: RunContext) -> dict[Need, int]:
    """Count the PATs that wait for a person now."""
    services, timing = run.services, run.services.timing
    now = services.clock.now()
    return count_needs(status_from(services.database, run.policy, now, settle=timing.settle, lease=timing.lease))


def print_lines(cli: CliContext, report: RunReport, done: list[str], *, otherwise: str) -> None:
    """Print what was done, or `otherwise`, on stdout, and what failed on stderr."""
    failures = list(render_failures(report))
    if not cli.quiet:
        for line in done or ([] if failures or report.is_stopped else [otherwise]):
            say(cli, line)
    for line in failures:
        echo(line, err=True)


def note_stop(cli: CliContext, report: RunReport) -> None:
    """Say so when a stop cut the run short."""
    if report.is_stopped:
        note(cli, "Stopped before everything was done; the next run finishes what was started.")


def _tell_both(log: Progress, update: Callable[[str], None], counted: Count) -> Progress:
    """The engine's progress goes to the log, and its newest fact beside the spinner, with how far the run is."""

    def tell(event: Event, subject: str, /) -> None:
        log(event, subject)
        update(counted.describe(event, subject))

    return tell
