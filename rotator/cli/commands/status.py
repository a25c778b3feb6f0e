"""`rotator status`: how every PAT stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.selecting import parse_duration_option, print_csv, print_names, selection_options
from rotator.cli.selection import Form
from rotator.engine.status import PatState, PatStatus
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.domain.pending_revocation import PendingRevocation
    from rotator.engine.alarm import Finding, Tolerance
    from rotator.engine.overview import StatusView
    from rotator.engine.signing_in import AccountStatus


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
@selection_options(state.value for state in PatState)
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
    callback=parse_duration_option,
    help="How far ahead to look for PATs that will expire before they are rotated. Default: 7d.",
)
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=parse_duration_option,
    help="How old the last success may be, and for how long a PAT may be due, such as 3h. Default: three times "
    "daemon.work, and at least 15m, if a daemon worked last, else 3h.",
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
    check: bool,
    within: timedelta | None,
    max_age: timedelta | None,
    nagios: bool,
) -> int:
    """Show the status of every PAT, by expiry, from rotator's own records. Asks no server.

    The first lines say which account a person must sign in, what waits for that, which account, organization or vault
    a run could not use, when a run last succeeded, and when a daemon last looked at every account.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.output.alarm import find_code_of_alarm, render_check
    from rotator.cli.output.status import (
        render_forecasts,
        render_others,
        render_status_head,
    )
    from rotator.documents.status import PatStatusDocument, make_check_document, make_status_document
    from rotator.engine.alarm import judge

    if nagios and (cli.as_json or cli.selection.form is not Form.TABLE):
        raise UsageError(
            "--nagios prints one line of text, and cannot be used with --json or -o",
            fix="Give --nagios alone, or `rotator status --check --json` for programs that read JSON.",
        )
    if nagios:
        return _check_as_plugin(cli, within, max_age)
    seen = _look(cli, within, max_age)
    if cli.as_json:
        document = make_status_document(seen.rows, seen.accounts, seen.view.now, seen.view.runs, seen.pending)
        if check:
            document["check"] = make_check_document(seen.findings)
        print_json(document)
    elif cli.selection.form is Form.NAME:
        print_names(row.name for row in seen.rows)
    elif cli.selection.form is Form.CSV:
        rows = make_status_document(seen.rows, (), seen.view.now, seen.view.runs)["pats"]
        print_csv(rows, PatStatusDocument)
    else:
        head = render_status_head(
            seen.view.runs,
            seen.view.conditions,
            seen.view.now,
            seen.view.needed,
            seen.view.rows,
            seen.view.looked_at,
            seen.view.pause_reason,
        )
        others = render_others(seen.view.conditions, seen.view.rows)
        for line in (*head, *others, *render_forecasts(seen.accounts, seen.view.now)):
            say(cli, line)
        for line in render_check(seen.findings, seen.view.conditions) if check else ():
            say(cli, line)
        _print(cli, seen)
    return find_code_of_alarm(judge(seen.findings)) if check else 0


@dataclass(frozen=True)
class _Seen:
    """What there is to show. `rows` and `pending` are those of the view that were asked for."""

    view: StatusView
    rows: tuple[PatStatus, ...]
    pending: tuple[PendingRevocation, ...]
    accounts: list[AccountStatus]
    tolerance: Tolerance

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it, for a check."""
        sights = [account.sight for account in self.accounts]
        return self.view.check(self.rows, self.pending, sights, self.tolerance)


def _look(
    cli: CliContext,
    within: timedelta | None,
    max_age: timedelta | None,
) -> _Seen:
    from rotator.cli.console import note
    from rotator.cli.output.status import describe_status
    from rotator.cli.session import open_installation
    from rotator.engine.alarm import WITHIN, Tolerance, find_max_age
    from rotator.engine.newly_due import find_newly_due
    from rotator.engine.overview import view_status
    from rotator.engine.signing_in import find_missing, make_account_status
    from rotator.settings.load import find_written_at
    from rotator.wiring.sign_ins import list_sights

    with open_installation(cli) as installation:
        sights = list_sights(installation, partial(note, cli))
        now, timing = installation.clock.now(), installation.settings.rotation
        view = view_status(
            installation.database,
            installation.policy,
            now,
            settle=timing.settle,
            lease=timing.lease,
            missing=find_missing(sights, now),
        )
        rows = cli.selection.choose(view.rows, describe_status, now)
        oldest = max_age or find_max_age(view.runs, installation.settings.daemon.work)
        per_hour = installation.policy.guardrails.max_rotations_per_hour
        written_at = find_written_at(installation.settings.policy)
        newly_due = find_newly_due(installation.database, installation.policy, view.rows, now, oldest, written_at)
    pending = view.find_pending(rows) if cli.selection.is_filtered else view.pending
    tolerance = Tolerance(oldest, within or WITHIN, view.places, per_hour, newly_due)
    accounts = [make_account_status(sight, view.rows, view.organizations) for sight in sights]
    return _Seen(view, rows, pending, accounts, tolerance)


def _check_as_plugin(
    cli: CliContext,
    within: timedelta | None,
    max_age: timedelta | None,
) -> int:
    """Print the one line of a plugin, and return its exit code."""
    from rotator.cli.output.alarm import make_figures, render_plugin, render_warnings

    seen = _look(cli, within, max_age)
    warnings = list(render_warnings(seen.findings, seen.rows, seen.accounts, seen.view.conditions, seen.view.now))
    figures = make_figures(seen.findings, warnings, seen.rows, seen.view.runs, seen.view.now, seen.tolerance)
    line, code = render_plugin(seen.findings, warnings, seen.rows, figures)
    click.echo(line)
    return code


def _print(cli: CliContext, seen: _Seen) -> None:
    from rotator.cli.console import print_table, say
    from rotator.cli.output.inventory import render_pending
    from rotator.cli.output.plan import NONE_CHOSEN, say_no_pats
    from rotator.cli.output.status import (
        COLUMNS,
        WIDE_COLUMNS,
        list_status_rows,
        list_wide_rows,
        render_status_notes,
        render_status_summary,
    )
    from rotator.engine.next_words import find_postponed

    if not seen.rows:
        sights = [account.sight for account in seen.accounts]
        out = [sight.memory.account for sight in sights if sight.is_signed_in(seen.view.now) is False]
        say(cli, NONE_CHOSEN if seen.view.rows else say_no_pats(out))
        return
    postponed = find_postponed(seen.view.rows, seen.tolerance.places, seen.tolerance.per_hour, seen.view.now)
    if cli.selection.form is Form.WIDE:
        print_table(cli, WIDE_COLUMNS, list(list_wide_rows(seen.rows, seen.view.now, postponed)))
    else:
        print_table(cli, COLUMNS, list(list_status_rows(seen.rows, seen.view.now, postponed)))
    for line in (*render_status_notes(seen.rows), *map(render_pending, seen.pending)):
        say(cli, line)
    say(cli, render_status_summary(seen.rows))
