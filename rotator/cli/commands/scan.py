"""`rotator scan`: the server's PATs against the inventory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete_nothing
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.selecting import print_csv, print_names, selection_options
from rotator.cli.selection import Form
from rotator.engine.comparing import ScanKind

if TYPE_CHECKING:
    from datetime import datetime

    from rotator.engine.scanning import ScanReport


@click.command(
    epilog=examples(
        "rotator scan           what is managed, untracked, missing, drifted",
        "rotator scan 'ci-*' --state untracked --expires-within 7d",
        "rotator scan -o wide   with the ids that `inventory adopt` takes",
        "rotator scan -o csv    for a spreadsheet; --json for scripts",
        "rotator scan --organization-wide     all users' PATs, for an administrator of the organization",
    )
)
@click.option(
    "--organization-wide", is_flag=True, help="The PATs of all users, as an administrator of the organizations."
)
@selection_options((kind.value for kind in ScanKind), names=complete_nothing)
@common_options
@click.pass_obj
def scan(cli: CliContext, organization_wide: bool) -> int:
    """Look at the PATs of every account and organization and compare them with the inventory. Changes nothing.

    managed: in the inventory; untracked: not in it; missing: in the inventory but not on the server; drifted: changed
    outside rotator; rotating: part of a rotation; minting: perhaps made by a mint that was not answered; late: made by
    a lost mint of ours, and revoked by the next run; left_behind: left alive by a closed rotation, for certain or
    perhaps; pending_revocation: its revocation was requested and is not confirmed yet.

    With --organization-wide an administrator sees the PATs of all users, and --account is the user. That the look was
    made, and how many PATs of which kind there were, is an event of the audit log.
    """
    if organization_wide:
        from rotator.cli.scanning_users import scan_all_users

        return scan_all_users(cli)
    from rotator.cli.console import print_json, progress
    from rotator.cli.output.scan import describe_entry
    from rotator.cli.session import open_installation
    from rotator.documents.scan import ScannedPatDocument, make_scan_document
    from rotator.engine.exit_codes import find_code_of_errors
    from rotator.engine.scanning import scan as look

    with open_installation(cli) as installation:
        run = installation.make_run()
        with progress(cli, "asking Azure DevOps"):
            report = look(run)
        now = run.services.clock.now()
        report = replace(report, entries=cli.selection.choose(report.entries, describe_entry, now))
        pairs = sum(len(account.organizations) for account in run.services.accounts)
    if cli.as_json:
        print_json(make_scan_document(report, now))
    elif cli.selection.form is Form.NAME:
        print_names(describe_entry(entry).name for entry in report.entries)
    elif cli.selection.form is Form.CSV:
        print_csv(make_scan_document(report, now)["pats"], ScannedPatDocument)
    else:
        _print(cli, report, now)
    errors = [error for _, _, error in report.errors]
    return find_code_of_errors(errors, done=len(errors) < pairs)


def _print(cli: CliContext, report: ScanReport, now: datetime) -> None:
    from rotator.cli.console import clean, echo, print_table, say
    from rotator.cli.output.scan import WIDE_COLUMNS, list_wide_rows, make_scan_table, render_scan_summary

    if report.entries:
        if cli.selection.form is Form.WIDE:
            print_table(cli, WIDE_COLUMNS, list(list_wide_rows(report, now)))
        else:
            print_table(cli, *make_scan_table(report, now))
    for account, organization, error in report.errors:
        echo(clean(f"{account}/{organization} could not be checked: {error.message}"), err=True)
        if error.fix:
            echo(clean(f"    fix: {error.fix}"), err=True)
    if report.entries or not report.errors:
        for line in render_scan_summary(report, now):
            say(cli, line)
