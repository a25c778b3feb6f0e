"""`rotator logout`: forget an account's sign-in."""

from __future__ import annotations

import click

from rotator.cli.commands.login import choose_accounts
from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.console import print_json, say
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.exit_codes import DECLINED
from rotator.cli.session import open_installation
from rotator.documents.accounts import make_logout_document
from rotator.domain.exit_code import DONE


@click.command(
    epilog=examples(
        "rotator logout build-bot          asks first",
        "rotator logout                    where the settings have one account",
        "rotator logout build-bot --yes    from a script: does not ask",
    )
)
@click.argument("account", required=False, shell_complete=complete("account"))
@yes_option
@reason_option
@common_options
@click.pass_obj
def logout(cli: CliContext, account: str | None, yes: bool) -> int:
    """Forget the sign-in of ACCOUNT, also on disk. Its PATs and secrets stay as they are.

    Its PATs are not rotated until it is signed in again.
    """
    with open_installation(cli) as installation:
        (name,) = choose_accounts(installation.settings, account, everyone=False)
        check_can_confirm(cli, f"without its sign-in no PAT of {name} is rotated", f"logout {name}", yes=yes)
        if not is_sure(cli, f"Sign {name} out? Its PATs are not rotated until it is signed in again.", yes=yes):
            say(cli, f"{name} was not signed out.")
            return DECLINED
        was_signed_in = installation.make_sign_in_desk(cli.reason).sign_out(name)
    if cli.as_json:
        print_json(make_logout_document(name, was_signed_in=was_signed_in))
    elif was_signed_in:
        say(cli, f"{name} is signed out. `rotator login {name}` signs it in again.")
    else:
        say(cli, f"Nobody was signed in as {name}.")
    return DONE
