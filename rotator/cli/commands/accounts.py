"""`rotator accounts`: who is signed in, since the last refresh, and what will end it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import click

from rotator.cli.console import Cell, clean, note, print_json, print_table, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation
from rotator.cli.widths import Column
from rotator.documents.accounts import make_accounts_document
from rotator.domain.organization import OrganizationMemory
from rotator.domain.words import say_ago, say_in, say_moment
from rotator.engine.signing_in import AccountView, SignInRisk
from rotator.wiring.sign_ins import view_accounts

COLUMNS = (
    Column("account"),
    Column("user"),
    Column("signed in", fixed=True),
    Column("refreshed", fixed=True),
    Column("ends", fixed=True),
)
ORGANIZATION_COLUMNS = (
    Column("account"),
    Column("organization"),
    Column("works", fixed=True),
    Column("last worked", fixed=True),
)


@click.command(epilog=examples("rotator accounts", "rotator accounts --json"))
@common_options
@click.pass_obj
def accounts(cli: CliContext) -> None:
    """Show whether each account is signed in, when its sign-in was last refreshed, and what will end it.

    Below that: when each of its organizations last worked, and why it does not since. Reads only the token cache and
    rotator's own records. Each run refreshes the sign-ins.
    """
    with open_installation(cli) as installation:
        views, now = view_accounts(installation, partial(note, cli)), installation.clock.now()
    if cli.as_json:
        print_json(make_accounts_document(views, now))
        return
    print_table(cli, COLUMNS, [make_row(view, now) for view in views])
    usable = {view.account.name for view in views if is_usable(view, now)}
    organizations = [memory for view in views for memory in view.organizations]
    if organizations:
        say(cli)
        rows = [make_organization_row(memory, now, is_usable=memory.account in usable) for memory in organizations]
        print_table(cli, ORGANIZATION_COLUMNS, rows)
    for memory in organizations:
        for line in explain_organization(memory):
            say(cli, clean(line))
    for view in views:
        if view.sight.refusal is not None:
            say(cli)
            say(cli, clean(f"{view.account.name}: {view.sight.refusal.message}"))
            say(cli, clean(f"    fix: {view.sight.refusal.fix}"))
            continue
        for risk in view.risks:
            say(cli)
            say(cli, clean(f"{view.account.name}: {say_risk(risk, view)}"))


def make_row(view: AccountView, now: datetime) -> list[Cell | str]:
    """One line of the table."""
    status, lapses_at, refreshed_at = view.status, view.sight.lapses_at, view.sight.last_refresh_at
    refreshed = say_in(refreshed_at, now) if refreshed_at else "-"
    if status.username is None:
        state = Cell("no", "red")
    elif view.sight.refusal is not None:
        state = Cell("refused", "red")
    elif not status.is_signed_in(now):
        state = Cell("lapsed", "red")
    else:
        state = Cell("yes", "green")
    return [view.account.name, view.account.username, state, refreshed, say_in(lapses_at, now) if lapses_at else "-"]


def is_usable(view: AccountView, now: datetime) -> bool:
    """Whether the account is signed in. While it is not, none of its organizations works."""
    return view.sight.refusal is None and view.status.is_signed_in(now)


def make_organization_row(memory: OrganizationMemory, now: datetime, *, is_usable: bool = True) -> list[Cell | str]:
    """One line of the table of organizations."""
    if memory.failure is not None or not is_usable:
        works = Cell("no", "red")
    else:
        works = Cell("yes", "green") if memory.failed_at is None else Cell("not known", "yellow")
    return [memory.account, memory.organization, works, say_ago(memory.worked_at, now) if memory.worked_at else "-"]


def explain_organization(memory: OrganizationMemory) -> Iterator[str]:
    """Say why an organization does not work, or why that is not known, and what to do."""
    if memory.failed_at is None:
        return
    yield ""
    if memory.failure is None:
        yield (
            f"{memory.account}/{memory.organization} has not been looked at since its account could not sign in; "
            "the daemon, or `rotator once`, looks."
        )
        return
    yield (
        f"{memory.account}/{memory.organization} has not worked since {say_moment(memory.failed_at)}: "
        f"{memory.failure.message}"
    )
    if memory.failure.fix:
        yield f"    fix: {memory.failure.fix}"


def say_risk(risk: SignInRisk, view: AccountView) -> str:
    """What will end the sign-in, or keeps it from being used, and what to do."""
    name = view.account.name
    if risk is SignInRisk.NOBODY_SIGNED_IN:
        return f"nobody is signed in; run `rotator login {name}`."
    if risk is SignInRisk.IDLE_OR_POLICY:
        return (
            "the sign-in ends after 90 days without a run, at a password change, or when a policy of the tenant "
            f"ends it; then run `rotator login {name}`."
        )
    kind = "secret" if risk is SignInRisk.CLIENT_SECRET_ENDS else "certificate"
    return (
        f"the client {kind} of application {view.registration.client_id} expires on a day that only Entra knows. Look "
        "it up under App registrations > Certificates & secrets, and replace it in time."
    )
