"""`rotator status`: how every PAT stands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.engine.status import ATTENTION, PatState, PatStatus
from rotator.errors import RotatorError, UsageError

if TYPE_CHECKING:
    from rotator.documents.accounts import SignInDocument
    from rotator.domain.pending_revocation import PendingRevocation
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator status                     every PAT: state, expiry, what comes next",
        "rotator status npm-feed            one of them",
        "rotator status --state failed --state blocked",
        "rotator status --check             exit code 4 if one is expired, failed or blocked",
    )
)
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in PatState]),
    help="Only PATs in this state; may be given several times.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 4 if a PAT shown is expired, failed, blocked, or not revoked as it should.",
)
@common_options
@click.pass_obj
def status(cli: CliContext, names: tuple[str, ...], states: tuple[str, ...], check: bool) -> int:
    """Show how every PAT stands, by expiry, from rotator's own records. Asks no server.

    If the token cache can be read, --json also says whether each account is signed in.
    """
    from rotator.cli import exit_codes
    from rotator.cli.console import print_json
    from rotator.cli.session import open_installation
    from rotator.documents.status import make_status_document
    from rotator.engine.status import status_from

    with open_installation(cli) as installation:
        now = installation.clock.now()
        settle = installation.settings.rotation.settle
        with installation.database.read() as reading:
            every = reading.revocations.load()
        rows = _select(status_from(installation.database, installation.policy, now, settle=settle), names, states)
        accounts = _load_sign_ins(cli, installation, now) if cli.as_json else []
    shown = {row.name for row in rows}
    pending = [item for item in every if (item.name in shown and not item.is_detached) or not (names or states)]
    if cli.as_json:
        print_json(make_status_document(rows, accounts, now, pending))
    else:
        _print(cli, rows, pending, now, is_filtered=bool(names or states))
    needs_person = any(row.state in ATTENTION for row in rows) or any(item.is_overdue(now) for item in pending)
    return exit_codes.ATTENTION if check and needs_person else exit_codes.DONE


def _load_sign_ins(cli: CliContext, installation: Installation, now: datetime) -> list[SignInDocument]:
    """What the token cache says about each account; unknown to a user who may not read it, with a note."""
    from rotator.cli.console import note
    from rotator.documents.accounts import make_sign_in_document

    names = [account.name for account in installation.accounts]
    try:
        entra = installation.entra_sign_in
        return [make_sign_in_document(name, entra.status(name), now) for name in names]
    except RotatorError as error:
        note(cli, f"The sign-ins could not be read: {error.message}")
        return [make_sign_in_document(name, None, now) for name in names]


def _select(rows: tuple[PatStatus, ...], names: tuple[str, ...], states: tuple[str, ...]) -> tuple[PatStatus, ...]:
    unknown = sorted(set(names) - {row.name for row in rows})
    if unknown:
        raise UsageError(f"there is no PAT named {', '.join(unknown)}", fix="See `rotator status` for the names.")
    return tuple(row for row in rows if (not names or row.name in names) and (not states or row.state.value in states))


def _print(
    cli: CliContext, rows: tuple[PatStatus, ...], pending: list[PendingRevocation], now: datetime, *, is_filtered: bool
) -> None:
    from rotator.cli.console import print_table, say
    from rotator.cli.output.inventory import render_pending
    from rotator.cli.output.plan import NO_PATS
    from rotator.cli.output.status import COLUMNS, list_status_rows, render_status_notes, render_status_summary

    if not rows:
        say(cli, "No PAT is in this state." if is_filtered else NO_PATS)
        return
    print_table(cli, COLUMNS, list(list_status_rows(rows, now)))
    for line in (*render_status_notes(rows), *map(render_pending, pending)):
        say(cli, line)
    say(cli, render_status_summary(rows))
