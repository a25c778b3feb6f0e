"""`rotator logout`: forget an account's sign-in."""

from __future__ import annotations

import click

from rotator.cli.console import print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation
from rotator.documents.accounts import make_logout_document


@click.command(epilog=examples("rotator logout build-bot"))
@click.argument("account")
@common_options
@click.pass_obj
def logout(cli: CliContext, account: str) -> None:
    """Forget the sign-in of ACCOUNT, also on disk. Its PATs and secrets stay as they are.

    Its PATs are not rotated until it is signed in again.
    """
    with open_installation(cli) as installation:
        was_signed_in = installation.sign_in_desk.sign_out(account)
    if cli.as_json:
        print_json(make_logout_document(account, was_signed_in=was_signed_in))
    elif was_signed_in:
        say(cli, f"{account} is signed out. `rotator login {account}` signs it in again.")
    else:
        say(cli, f"Nobody was signed in as {account}.")
