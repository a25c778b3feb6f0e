"""Doing a run, and telling what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from rotator.cli.context import CliContext
from rotator.cli.render import print_json, progress, say
from rotator.cli.render_report import render_done, render_failures
from rotator.documents.report import make_report_document
from rotator.domain.events.event import Event
from rotator.domain.plan import ActionKind
from rotator.engine.context import RunContext
from rotator.engine.planning import make_plan
from rotator.engine.report import RunReport
from rotator.ports.progress import Progress


def print_report(cli: CliContext, run: RunContext, act: Callable[[RunContext], RunReport], *, what: str) -> int:
    """Do the run and print its report: what was done on stdout, what failed on stderr. The exit code of it."""
    with progress(cli, what) as update:
        report = act(replace(run, progress=_tell_both(run, update)))
    if cli.as_json:
        # What was blocked before and was left alone is no news, but scripts want the whole list.
        print_json(make_report_document(report, make_plan(run).of_kind(ActionKind.BLOCKED)))
        return report.exit_code
    _print_lines(cli, run, report)
    return report.exit_code


def _print_lines(cli: CliContext, run: RunContext, report: RunReport) -> None:
    done = list(render_done(report, run.services.clock.now()))
    failures = list(render_failures(report))
    if not cli.quiet:
        for line in done or ([] if failures else ["Nothing to do."]):
            say(cli, line)
    for line in failures:
        click.echo(line, err=True)


def _tell_both(run: RunContext, update: Callable[[str], None]) -> Progress:
    """The engine's progress goes to the log, and its newest fact beside the spinner."""

    def tell(event: Event, subject: str, /) -> None:
        run.progress(event, subject)
        update(f"{event.type.name.replace('_', ' ')} {subject}")

    return tell
