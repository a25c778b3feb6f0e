"""`rotator audit reconcile`: Azure DevOps' own audit log against ours."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.moments import parse_moment
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.engine.log_findings import OrganizationLog


@click.command(
    short_help="Compare with Azure DevOps' own log.",
    epilog=examples(
        "rotator audit reconcile                  the last 90 days, as long as Azure DevOps keeps its log",
        "rotator audit reconcile --since 7d --dry-run",
        "rotator audit reconcile --since 2026-11-01 --until 2026-12-01 --json",
    ),
)
@click.option("--since", metavar="WHEN", default="90d", help="From when: a time span ago or a UTC time. Default: 90d.")
@click.option("--until", metavar="WHEN", help="Until when. Default: now.")
@click.option("--dry-run", is_flag=True, help="Show what is found, and record nothing.")
@common_options
@click.pass_obj
def reconcile(cli: CliContext, since: str, until: str | None, dry_run: bool) -> int:
    """Compare Azure DevOps' own audit log with rotator's: what others did to the accounts' PATs, and what is missing.

    Needs the permission to read that log. Anything not reported before is recorded as an event; nothing is
    minted or revoked. The exit code is 4 if a person must look at something, 1 or 3 if a log could not be read.
    """
    from rotator.cli.console import print_json, progress
    from rotator.cli.held_log import HeldLog
    from rotator.cli.session import open_installation
    from rotator.documents.log_comparison import make_log_comparison_document
    from rotator.engine.comparing_logs import reconcile_logs
    from rotator.engine.subjects import name_organization
    from rotator.wiring.service_logs import make_service_log

    with (
        progress(cli, "asking Azure DevOps for its audit log") as show,
        open_installation(cli) as installation,
        closing(make_service_log(installation)) as log,
    ):
        now = installation.clock.now()
        begin, end = parse_moment("--since", since, now), now if until is None else parse_moment("--until", until, now)
        if begin >= min(end, now):
            raise UsageError("--since is not before --until", fix="Give a period that has begun and is not empty.")

        def tell(organization: str, count: int) -> None:
            show(f"reading the audit log of {organization}: {count} entries")

        run = installation.make_run(cli.reason)
        held = HeldLog(run.progress)
        if cli.as_json or cli.verbosity:
            held.release()
        found: tuple[OrganizationLog, ...] = ()
        try:
            found = reconcile_logs(replace(run, progress=held), log, begin, min(end, now), tell, dry=dry_run)
        finally:
            held.release(told={name_organization((item.account, item.organization)) for item in found})
    if cli.as_json:
        print_json(make_log_comparison_document(found, now, dry_run=dry_run))
    else:
        _print(cli, found, now)
    return find_code(found)


def _print(cli: CliContext, found: tuple[OrganizationLog, ...], now: datetime) -> None:
    from rotator.cli.console import clean, echo, print_table, say
    from rotator.cli.output.log_comparison import COLUMNS, list_rows, render_coverage

    rows = list(list_rows(found))
    if rows:
        print_table(cli, COLUMNS, rows)
    for item in found:
        if item.error is None or item.undecided:
            for line in render_coverage(item, now):
                say(cli, line)
        if item.error is None:
            continue
        how = "not compared as a whole" if item.undecided else "not compared"
        echo(clean(f"{item.organization} was {how}: {item.error.message}"), err=True)
        if item.error.fix:
            echo(clean(f"    fix: {item.error.fix}"), err=True)


def find_code(found: tuple[OrganizationLog, ...]) -> int:
    """Find the exit code: what a person must look at, before what was not compared, or not told apart.

    What could not be read comes last: it may be about no PAT of ours.
    """
    from rotator.cli.exit_codes import ATTENTION
    from rotator.domain.exit_code import PARTLY_FAILED
    from rotator.engine.exit_codes import find_code_of_errors

    if any(item.needs_person for item in found):
        return ATTENTION
    errors = [item.error for item in found if item.error is not None]
    done = any(item.error is None or item.undecided for item in found)
    code = find_code_of_errors(errors, done=done)
    return code or (PARTLY_FAILED if any(item.read.unreadable for item in found) else 0)
