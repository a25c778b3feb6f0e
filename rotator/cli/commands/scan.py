"""`rotator scan`: the server's PATs against the inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples

if TYPE_CHECKING:
    from datetime import datetime

    from rotator.engine.scanning import ScanReport


@click.command(
    epilog=examples(
        "rotator scan           what is managed, untracked, missing, drifted",
        "rotator scan --json    the same for scripts",
    )
)
@common_options
@click.pass_obj
def scan(cli: CliContext) -> int:
    """Look at the PATs of every account and organization and compare them with the inventory. Changes nothing.

    managed: in the inventory; untracked: not in it; missing: in the inventory but not on the server; drifted: changed
    outside rotator; rotating: part of a rotation; minting: perhaps made by a mint that was not answered; late: made by
    a lost mint of ours, and revoked by the next run; left_behind: left alive by a closed rotation, for certain or
    perhaps.
    """
    from rotator.cli.console import print_json, progress
    from rotator.cli.exit_codes import find_code_of_errors
    from rotator.cli.session import open_installation
    from rotator.documents.scan import make_scan_document
    from rotator.engine.scanning import scan as look

    with open_installation(cli) as installation:
        run = installation.make_run()
        with progress(cli, "asking Azure DevOps"):
            report = look(run)
        now = run.services.clock.now()
        pairs = sum(len(account.organizations) for account in run.services.accounts)
    if cli.as_json:
        print_json(make_scan_document(report, now))
    else:
        _print(cli, report, now)
    errors = [error for _, _, error in report.errors]
    return find_code_of_errors(errors, done=len(errors) < pairs)


def _print(cli: CliContext, report: ScanReport, now: datetime) -> None:
    from rotator.cli.console import clean, echo, print_table, say
    from rotator.cli.output.scan import COLUMNS, list_scan_rows, render_scan_summary
    from rotator.cli.output.words import drop_account

    if report.entries:
        print_table(cli, COLUMNS, list(list_scan_rows(report, now)))
    for account, organization, error in report.errors:
        echo(
            clean(f"{account}/{organization} could not be looked at: {drop_account(error.message, account)}"), err=True
        )
        if error.fix:
            echo(clean(f"    fix: {error.fix}"), err=True)
    if report.entries or not report.errors:
        for line in render_scan_summary(report, now):
            say(cli, line)
