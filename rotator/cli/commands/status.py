"""`rotator status`: how every PAT stands."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.engine.status import PatState, PatStatus
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.domain.pending_revocation import PendingRevocation


def _parse_age(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
    from rotator.settings.durations import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog=examples(
        "rotator status                     every PAT: state, expiry, what comes next",
        "rotator status npm-feed            one of them",
        "rotator status --state failed --state blocked",
        "rotator status --check             exit code 4 if one is expired, failed or blocked",
        "rotator status --check --max-age 1h    or if no run succeeded within the last hour",
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
    help="Exit with 4 if a PAT shown is expired, failed, blocked, or not revoked as it should, if something else waits "
    "for a person, or if the last success is too old; with 10 if only a sign-in is needed.",
)
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=_parse_age,
    help="How old the last success may be, such as 3h. Default: three times daemon.work and at least 15m if a daemon "
    "worked last, else 3h.",
)
@common_options
@click.pass_obj
def status(
    cli: CliContext, names: tuple[str, ...], states: tuple[str, ...], check: bool, max_age: timedelta | None
) -> int:
    """Show how every PAT stands, by expiry, from rotator's own records. Asks no server.

    It begins with when work last succeeded, which account a person must sign in, and what waits for that.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.exit_codes import find_code_of_alarm
    from rotator.cli.output.status import render_forecasts, render_needed, render_status_head
    from rotator.cli.session import open_installation
    from rotator.documents.status import make_status_document
    from rotator.engine.alarm import find_alarm, find_max_age
    from rotator.engine.run_memory import load_run_times
    from rotator.engine.signing_in import make_account_status
    from rotator.engine.status import load_needed, status_from
    from rotator.wiring.sign_ins import list_sights

    with open_installation(cli) as installation:
        now = installation.clock.now()
        settle = installation.settings.rotation.settle
        with installation.database.read() as reading:
            every, runs = reading.revocations.load(), load_run_times(reading)
            conditions, needed = reading.conditions.load(), load_needed(reading)
        all_rows = status_from(installation.database, installation.policy, now, settle=settle)
        rows = _select(all_rows, names, states)
        accounts = [make_account_status(sight, all_rows) for sight in list_sights(installation)]
        oldest = max_age or find_max_age(runs, installation.settings.daemon.work)
    shown = {row.name for row in rows}
    pending = [item for item in every if (item.name in shown and not item.is_detached) or not (names or states)]
    if cli.as_json:
        print_json(make_status_document(rows, accounts, now, runs, pending))
    else:
        say(cli, render_status_head(runs, conditions, now, needed, all_rows))
        for line in (*render_needed(needed), *render_forecasts(accounts, now)):
            say(cli, line)
        _print(cli, rows, pending, now, is_filtered=bool(names or states))
    return find_code_of_alarm(find_alarm(rows, pending, conditions, runs, now, oldest)) if check else 0


def _select(rows: tuple[PatStatus, ...], names: tuple[str, ...], states: tuple[str, ...]) -> tuple[PatStatus, ...]:
    from rotator.domain.words import say_did_you_mean

    known = {row.name for row in rows}
    unknown = [f'"{name}"{say_did_you_mean(name, known)}' for name in sorted(set(names) - known)]
    if unknown:
        said = " and none ".join(f"named {name}" for name in unknown)
        raise UsageError(f"there is no PAT {said}", fix="See `rotator status` for the names.")
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
