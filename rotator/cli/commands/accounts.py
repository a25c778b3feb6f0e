"""`rotator accounts`: who is signed in, how fresh, and what will end it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.render import SCHEMA_VERSION, Cell, Column, iso_or_none, print_json, print_table, say, say_in, wrap
from rotator.cli.session import open_installation

if TYPE_CHECKING:
    from rotator.ports.sign_in import SignInStatus
    from rotator.settings.sections.accounts import AccountSettings

IDLE_LIMIT = timedelta(days=90)
"""How long Entra lets a sign-in rest; policies of a tenant can make it less."""


@click.command(epilog=examples("rotator accounts", "rotator accounts --json"))
@common_options
@click.pass_obj
def accounts(cli: CliContext) -> None:
    """Show who is signed in for each account, how fresh that is, and what will end it.

    Looks at the token cache on this computer only. Each run refreshes the sign-ins.
    """
    with open_installation(cli) as installation:
        entra, now = installation.entra_sign_in, installation.clock.now()
        found = [(account, entra.status(account.name)) for account in installation.settings.accounts]
    if cli.as_json:
        entries = [make_document(account, status, now) for account, status in found]
        print_json({"schema_version": SCHEMA_VERSION, "accounts": entries})
        return
    columns: list[Column | str] = [
        Column("account", fold=True),
        Column("user", fold=True),
        "signed in",
        "refreshed",
        "ends if idle",
    ]
    print_table(cli, columns, [make_row(account, status, now) for account, status in found])
    for account, status in found:
        for sentence in say_risks(account, status):
            say(cli)
            say(cli, wrap(f"{account.name}: {sentence}"))


def find_lapse(status: SignInStatus) -> datetime | None:
    """When the sign-in ends if nothing refreshes it."""
    return status.refreshed_at + IDLE_LIMIT if status.username and status.refreshed_at else None


def make_document(account: AccountSettings, status: SignInStatus, now: datetime) -> dict[str, object]:
    """The JSON form of one account."""
    lapses_at = find_lapse(status)
    return {
        "account": account.name,
        "username": account.username,
        "tenant": account.tenant,
        "client_id": account.client_id,
        "organizations": list(account.organizations),
        "signed_in": status.username is not None and (lapses_at is None or lapses_at > now),
        "access_token_expires_at": iso_or_none(status.access_expires_at),
        "refreshed_at": iso_or_none(status.refreshed_at),
        "lapses_at": iso_or_none(lapses_at),
        "risks": say_risks(account, status),
    }


def make_row(account: AccountSettings, status: SignInStatus, now: datetime) -> list[Cell | str]:
    """One line of the table."""
    lapses_at = find_lapse(status)
    refreshed = say_in(status.refreshed_at, now) if status.refreshed_at else "-"
    if status.username is None:
        state = Cell("no", "red")
    elif lapses_at is not None and lapses_at <= now:
        state = Cell("lapsed", "red")
    else:
        state = Cell("yes", "green")
    return [account.name, account.username, state, refreshed, say_in(lapses_at, now) if lapses_at else "-"]


def say_risks(account: AccountSettings, status: SignInStatus) -> list[str]:
    """What will end the sign-in, or keeps it from being used, and what to do."""
    if status.username is None:
        return [f"nobody is signed in; run `rotator login {account.name}`."]
    sentences = [
        "the sign-in ends after 90 days without a run, at a password change, or when a policy of the tenant says so; "
        f"then run `rotator login {account.name}`."
    ]
    for kind, reference in (("secret", account.client_secret), ("certificate", account.client_certificate)):
        if reference is not None:
            sentences.append(
                f"the client {kind} of application {account.client_id} ends on a day that only Entra knows; look it "
                "up under App registrations > Certificates & secrets, and replace it before."
            )
    return sentences
