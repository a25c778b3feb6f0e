"""`rotator status`: how every PAT stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.engine.status import PatState, PatStatus
from rotator.errors import RotatorError, UsageError

if TYPE_CHECKING:
    from rotator.domain.condition import Condition
    from rotator.domain.job_run import RunTimes
    from rotator.domain.pending_revocation import PendingRevocation
    from rotator.engine.alarm import Finding, Tolerance
    from rotator.engine.signing_in import AccountStatus
    from rotator.engine.status import NeededSignIn


def _parse_duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
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
        "rotator status --check             exit code 4 if one is in trouble, or will not be rotated in time",
        "rotator status --check --within 14d --max-age 1h",
        "rotator status --nagios            as a plugin for Nagios, Icinga, Checkmk and others",
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
    help="Exit with 4 if a PAT shown is expired, overdue, failed or blocked, or will not be rotated in time, if "
    "something else is wrong or waits for a person, or if the last success is too old; with 10 if only a sign-in is "
    "needed.",
)
@click.option(
    "--within",
    metavar="DURATION",
    callback=_parse_duration,
    help="How far ahead to look for PATs that will expire before they are rotated. Default: 7d.",
)
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=_parse_duration,
    help="How old the last success may be, and for how long a PAT may be due, such as 3h. Default: three times "
    "daemon.work and at least 15m if a daemon worked last, else 3h.",
)
@click.option(
    "--nagios",
    is_flag=True,
    help="Check as a Nagios plugin: one line with figures; exit with 2 if --check is red, 1 if a person has to do "
    "something by a known day, 3 if it cannot tell.",
)
@common_options
@click.pass_obj
def status(
    cli: CliContext,
    names: tuple[str, ...],
    states: tuple[str, ...],
    check: bool,
    within: timedelta | None,
    max_age: timedelta | None,
    nagios: bool,
) -> int:
    """Show how every PAT stands, by expiry, from rotator's own records. Asks no server.

    The first lines say when work last succeeded, which account a person must sign in, what waits for that, and
    which account, organization or vault cannot be used.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.exit_codes import find_code_of_alarm
    from rotator.cli.output.alarm import render_findings
    from rotator.cli.output.status import render_down, render_forecasts, render_needed, render_status_head
    from rotator.documents.status import make_status_document
    from rotator.engine.alarm import judge

    if nagios:
        return _check_as_plugin(cli, names, states, within, max_age)
    seen = _look(cli, names, states, within, max_age)
    if cli.as_json:
        print_json(make_status_document(seen.rows, seen.accounts, seen.now, seen.runs, seen.pending))
    else:
        say(cli, render_status_head(seen.runs, seen.conditions, seen.now, seen.needed, seen.every_row))
        fixes = (*render_needed(seen.needed), *render_down(seen.conditions))
        for line in (*fixes, *render_forecasts(seen.accounts, seen.now)):
            say(cli, line)
        for line in render_findings(seen.findings) if check else ():
            say(cli, f"check: {line}")
        _print(cli, seen.rows, seen.pending, seen.now, is_filtered=bool(names or states))
    return find_code_of_alarm(judge(seen.findings)) if check else 0


@dataclass(frozen=True)
class _Seen:
    """What there is to show. `rows` and `pending` are those that were asked for."""

    now: datetime
    every_row: tuple[PatStatus, ...]
    rows: tuple[PatStatus, ...]
    pending: list[PendingRevocation]
    conditions: tuple[Condition, ...]
    needed: dict[str, NeededSignIn]
    accounts: list[AccountStatus]
    runs: RunTimes
    tolerance: Tolerance
    findings: tuple[Finding, ...]


def _look(
    cli: CliContext,
    names: tuple[str, ...],
    states: tuple[str, ...],
    within: timedelta | None,
    max_age: timedelta | None,
) -> _Seen:
    from rotator.cli.console import note
    from rotator.cli.session import open_installation
    from rotator.engine.alarm import WITHIN, Tolerance, find_findings, find_max_age
    from rotator.engine.pace import count_places
    from rotator.engine.run_memory import load_run_times
    from rotator.engine.signing_in import make_account_status
    from rotator.engine.status import load_needed, status_from
    from rotator.wiring.sign_ins import list_sights

    with open_installation(cli) as installation:
        now, guardrails = installation.clock.now(), installation.policy.guardrails
        timing = installation.settings.rotation
        with installation.database.read() as reading:
            every, runs = reading.revocations.load(), load_run_times(reading)
            conditions, needed = reading.conditions.load(), load_needed(reading)
            places = count_places(reading, guardrails, now)
        every_row = status_from(
            installation.database, installation.policy, now, settle=timing.settle, lease=timing.lease
        )
        rows = _select(every_row, names, states)
        accounts = [make_account_status(sight, every_row) for sight in list_sights(installation, partial(note, cli))]
        oldest = max_age or find_max_age(runs, installation.settings.daemon.work)
    shown = {row.name for row in rows}
    pending = [item for item in every if (item.name in shown and not item.is_detached) or not (names or states)]
    tolerance = Tolerance(oldest, within or WITHIN, places, guardrails.max_rotations_per_hour)
    signed_out = [account.sight.memory.account for account in accounts if account.sight.is_signed_in(now) is False]
    findings = find_findings(rows, pending, conditions, runs, now, tolerance, signed_out)
    return _Seen(now, every_row, rows, pending, conditions, needed, accounts, runs, tolerance, findings)


def _check_as_plugin(
    cli: CliContext,
    names: tuple[str, ...],
    states: tuple[str, ...],
    within: timedelta | None,
    max_age: timedelta | None,
) -> int:
    """Print the one line of a plugin, and return its exit code."""
    from rotator.cli.output.alarm import make_figures, render_plugin, render_unknown, render_warnings

    try:
        seen = _look(cli, names, states, within, max_age)
    except RotatorError as error:
        line, code = render_unknown(error)
    else:
        warnings = list(render_warnings(seen.rows, seen.accounts, seen.now))
        figures = make_figures(seen.findings, warnings, seen.rows, seen.runs, seen.now, seen.tolerance)
        line, code = render_plugin(seen.findings, warnings, seen.rows, figures)
    click.echo(line)
    return code


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
