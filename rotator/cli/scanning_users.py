"""`rotator scan --organization-wide`: the PATs of all users, as an administrator of the organizations sees them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from rotator.cli.context import CliContext
from rotator.cli.selection import Form

if TYPE_CHECKING:
    from rotator.engine.scanning_users import OrganizationScan, UserPat


def scan_all_users(cli: CliContext) -> int:
    """Look at all users of all organizations, show what was chosen, and return the exit code."""
    from rotator.cli.console import print_json, progress
    from rotator.cli.output.user_pats import describe_user_pat
    from rotator.cli.selecting import print_csv, print_names
    from rotator.cli.session import open_installation
    from rotator.documents.user_pats import UserPatDocument, make_organization_scan_document
    from rotator.domain.user_pats import UserLook
    from rotator.engine.exit_codes import find_code_of_errors
    from rotator.engine.scanning_users import scan_users
    from rotator.wiring.token_admins import make_token_admin

    with (
        progress(cli, "asking Azure DevOps for its users") as show,
        open_installation(cli) as installation,
        closing(make_token_admin(installation)) as admin,
    ):

        def tell(organization: str, number: int, users: int) -> None:
            show(f"looking at the PATs of {organization}'s users: {number} of {users}")

        run = installation.make_run(cli.reason)
        scans = scan_users(run, admin, tell)
        now = run.services.clock.now()
    found = [pat for scan in scans for pat in scan.pats]
    chosen = cli.selection.choose(found, describe_user_pat, now)
    if cli.as_json:
        print_json(make_organization_scan_document(scans, chosen, now))
    elif cli.selection.form is Form.NAME:
        print_names(describe_user_pat(pat).name for pat in chosen)
    elif cli.selection.form is Form.CSV:
        print_csv(make_organization_scan_document(scans, chosen, now)["pats"], UserPatDocument)
    else:
        _print(cli, scans, chosen, now)
    errors = [scan.error for scan in scans if scan.error is not None]
    errors += [user.error for scan in scans for user in scan.users if user.error is not None]
    return find_code_of_errors(errors, done=any(user.look is UserLook.OK for scan in scans for user in scan.users))


def _print(cli: CliContext, scans: Sequence[OrganizationScan], chosen: Sequence[UserPat], now: datetime) -> None:
    from rotator.cli.console import clean, echo, print_table, say
    from rotator.cli.output.user_pats import COLUMNS, list_failed_users, list_rows, render_summary

    if chosen:
        print_table(cli, COLUMNS, list(list_rows(chosen, now)))
    for scan in scans:
        if scan.error is not None:
            echo(clean(f"{scan.organization} was not scanned: {scan.error.message}"), err=True)
            if scan.error.fix:
                echo(clean(f"    fix: {scan.error.fix}"), err=True)
    for line in list_failed_users(scans):
        echo(clean(line), err=True)
    if any(scan.error is None for scan in scans):
        for line in render_summary(scans):
            say(cli, line)
