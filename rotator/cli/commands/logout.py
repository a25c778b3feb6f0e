"""`rotator logout`: forget an account's sign-in."""

from __future__ import annotations

import click

from rotator.cli.commands.login import choose_accounts
from rotator.cli.console import print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation
from rotator.documents.accounts import make_logout_document


@click.command(epilog=examples("rotator logout build-bot", "rotator logout    where the settings have one account"))
@click.argument("account", required=False)
@common_options
@click.pass_obj
def logout(cli: CliContext, account: str | None) -> None:
    """Forget the sign-in of ACCOUNT, also on disk. Its PATs and secrets stay as they are.

    Its PATs are not rotated until it is signed in again.
    """
    with open_installation(cli) as installation:
        (name,) = choose_accounts(installation.settings, account, everyone=False)
        was_signed_in = installation.sign_in_desk.sign_out(name)
    if cli.as_json:
        print_json(make_logout_document(name, was_signed_in=was_signed_in))
    elif was_signed_in:
        say(cli, f"{name} is signed out. `rotator login {name}` signs it in again.")
    else:
        say(cli, f"Nobody was signed in as {name}.")
