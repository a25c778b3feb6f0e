"""`rotator admin`: what an administrator of an organization does to PATs of other users."""

from __future__ import annotations

import shlex
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

import click

from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.engine.context import RunContext
from rotator.errors import NotManagedError, UsageError

if TYPE_CHECKING:
    from rotator.engine.scanning_users import FoundPat
    from rotator.ports.token_admin import TokenAdmin

MAY_TAKE_SECONDS = 3600
_LATE = "It may take up to an hour until Azure DevOps refuses it."


@click.group(
    epilog=examples(
        "rotator scan --organization-wide     the PATs of all users",
        "rotator admin revoke ID --account A --organization O --reason TEXT",
    )
)
@common_options
def admin() -> None:
    """Act on PATs of other users, as an administrator of the organization."""


@admin.command(
    short_help="Revoke a PAT of any user of an organization.",
    epilog=examples(
        "rotator admin revoke ID --account A --organization O --reason 'leaked'",
        "rotator admin revoke ID --account A --organization O --dry-run    only check whether it would be refused",
        "rotator admin revoke ID --account A --organization O --reason TEXT --yes",
    ),
)
@click.argument("authorization_id", metavar="ID")
@click.option("--account", required=True, metavar="NAME", help="Account that administers the organization.")
@click.option("--organization", required=True, metavar="NAME", help="Azure DevOps organization of the PAT.")
@click.option("--dry-run", is_flag=True, help="Check what can be checked, and revoke nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def revoke(cli: CliContext, authorization_id: str, account: str, organization: str, dry_run: bool, yes: bool) -> int:
    """Revoke a PAT of any user that rotator does not manage, by its authorization id.

    --reason is needed: the audit log keeps it, with the request, before that is sent. A PAT that rotator manages, or
    that a rotation accounts for, is refused: `rotator revoke` and `rotator recover` are for those. It may take up to
    an hour until Azure DevOps refuses the PAT, and rotator does not look whether it does.

    Before it asks, it looks whose PAT it is, and refuses an id that no user has. A dry run does the same, and needs no
    --reason. If the account may not list the PATs of all users, it says that nobody could check; with --yes it does not
    look.
    """
    from rotator.cli.console import say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.engine.admin_revoking import check_account, check_foreign, check_ready, revoke_as_admin
    from rotator.wiring.token_admins import make_token_admin

    command = shlex.join(["admin", "revoke", authorization_id, "--account", account, "--organization", organization])
    if not (cli.reason or dry_run):
        raise UsageError("the audit log needs a reason", fix=f"Say why: `rotator {command} --reason TEXT`.")
    with open_installation(cli) as installation, closing(make_token_admin(installation)) as service:
        run = installation.make_run(cli.reason)
        check_account(run, account, organization)
        identifier = check_foreign(run, authorization_id)
        what = f"revoking {identifier} breaks whoever uses it"
        check_can_confirm(cli, what, command, yes=yes or dry_run)
        if dry_run or not yes:
            check_ready(run, identifier, account, organization)
            _describe(cli, _look(cli, service, account, organization, identifier), account, run.services.clock.now())
        if dry_run:
            return _show(cli, run, identifier, account, organization, dry_run=True)
        if not is_sure(cli, f"Revoke {identifier} in {organization}? Whoever uses it will fail.", yes=yes):
            say(cli, "Nothing was revoked.")
            return DECLINED
        with stop_on_signals(installation.stop):
            revoke_as_admin(run, service, identifier, account, organization)
    return _show(cli, run, identifier, account, organization, dry_run=False)


def _look(cli: CliContext, admin: TokenAdmin, account: str, organization: str, identifier: str) -> FoundPat:
    """Find out whose PAT it is. UsageError when everybody's were listed, and nobody has it."""
    from rotator.cli.console import progress
    from rotator.engine.scanning_users import look_for_pat

    with progress(cli, f"looking for it in {organization}") as update:

        def tell(where: str, done: int, users: int) -> None:
            update(f"looking for it in {where}: {done} of {users} users")

        found = look_for_pat(admin, account, organization, identifier, tell)
    if found.pat is None and found.error is None:
        raise UsageError(
            f"no user of {organization} has a PAT {identifier} that is valid",
            code=NotManagedError.code,
            fix="`rotator scan --organization-wide --json` has the ids. With --yes its revocation is requested anyway.",
        )
    return found


def _describe(cli: CliContext, found: FoundPat, account: str, now: datetime) -> None:
    """Say whose PAT it is, what it may do and until when; or that nobody could look."""
    from rotator.cli.console import clean, say
    from rotator.cli.output.words import say_expiry

    if found.user is not None and found.pat is not None:
        say(cli, clean(f'"{found.pat.display_name}" of {found.user.name}: {" ".join(found.pat.scopes)}'))
        say(cli, f"    expires {say_expiry(found.pat.valid_to, now)}")
    elif found.error is not None:
        say(cli, clean(f"Not checked, whose PAT it is, and whether {account} may revoke it: {found.error.message}"))
        if found.error.fix:
            say(cli, clean(f"    fix: {found.error.fix}"))


def _show(cli: CliContext, run: RunContext, identifier: str, account: str, organization: str, *, dry_run: bool) -> int:
    from rotator.cli.console import print_json, say
    from rotator.documents.user_pats import make_admin_revocation_document

    if cli.as_json:
        print_json(
            make_admin_revocation_document(
                run.run_id, account, organization, identifier, MAY_TAKE_SECONDS, dry_run=dry_run
            )
        )
    elif dry_run:
        say(cli, f"would request the revocation of {identifier} in {organization}.")
        say(cli, "A dry run: nothing was revoked.")
    else:
        say(cli, f"requested the revocation of {identifier} in {organization}. {_LATE}")
    return 0
