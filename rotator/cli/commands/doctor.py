"""`rotator doctor`: everything that rotator depends on, checked."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.domain.checkup import CheckResult
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator doctor           OK, WARN or FAIL for each thing, and its fix",
        "rotator doctor --quiet   only what is not OK",
        "rotator doctor --json    for scripts",
        "rotator doctor --canary --account build-bot --organization contoso",
    )
)
@click.option("--canary", is_flag=True, help="Create a PAT, try it and revoke it; asks first. Nothing else is checked.")
@click.option(
    "--account",
    metavar="NAME",
    shell_complete=complete("account"),
    help="With --canary: the account whose PAT it is. Default: the only one.",
)
@click.option(
    "--organization",
    metavar="NAME",
    shell_complete=complete("organization"),
    help="With --canary: the organization that it is valid for. Default: the account's only one.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="With --canary: a scope that it has; may be given several times. Default: vso.profile.",
)
@yes_option
@reason_option
@common_options
@click.pass_obj
def doctor(
    cli: CliContext, canary: bool, account: str | None, organization: str | None, scopes: tuple[str, ...], yes: bool
) -> int:
    """Check settings, policy, files, database, sign-ins, organizations, vaults, audit log, daemon and clock.

    Changes nothing and creates no PAT: to test write access, it asks to change a version that does not exist. The audit
    log says which values of secrets it read. Each account's sign-in is refreshed, as a run does. Run it as the user
    that runs rotator, with the same environment.

    Only --canary creates a PAT, to see what the organization allows: with the longest lifetime that the policy asks
    for, and the least scope. It is tried, revoked at once, and proven gone. Its value is stored nowhere. Microsoft
    mails the account's user about it.

    Exits with 0 if all is well, 4 if there is a WARN, 1 if there is a FAIL, and 2 if the settings cannot be read.
    """
    from rotator.cli.console import progress
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.wiring.doctor import examine_installation

    if canary:
        with open_installation(cli) as installation:
            return _send_canary(cli, installation, account, organization, scopes, yes=yes)
    cli.changing = None  # it only looks
    if account or organization or scopes or yes or cli.reason:
        raise UsageError("these options are for --canary", fix="Leave them out, or add --canary.")
    # What the log would warn of is among the results.
    heard = replace(cli, quiet=cli.quiet or not cli.verbosity)
    with open_installation(heard) as installation, stop_on_signals(installation.stop), progress(cli, "examining"):
        results = examine_installation(installation)
    return _print(cli, results, ending="Nothing was changed.")


def _send_canary(
    cli: CliContext,
    installation: Installation,
    account: str | None,
    organization: str | None,
    scopes: tuple[str, ...],
    *,
    yes: bool,
) -> int:
    from functools import partial

    from rotator.cli.console import progress, say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.reporting import note_stop
    from rotator.cli.stopping import stop_on_signals
    from rotator.cli.wanted import read_scopes
    from rotator.domain.words import say_duration
    from rotator.engine.canary import LEAST_SCOPE, plan_canary, send_canary
    from rotator.engine.context import RunMode
    from rotator.engine.sealing import sealed

    wanted = read_scopes(scopes) or (LEAST_SCOPE,)
    account, organization = _choose_place(installation, account, organization)
    run, results = installation.make_run(cli.reason), list["CheckResult"]()
    pat = plan_canary(run, account, organization, wanted)
    [username] = [known.username for known in installation.accounts if known.name == account]
    mail = f"Microsoft mails {username} about it"
    command = ["doctor", "--canary", "--account", account, "--organization", organization]
    command += [word for scope in scopes for word in ("--scope", scope)]
    check_can_confirm(cli, f"a canary is a new PAT, and {mail}", shlex.join(command), yes=yes)
    what = f"a PAT of {account} in {organization} for {say_duration(pat.lifetime)} with {' '.join(wanted)}"
    if not is_sure(cli, f"Create {what}, and revoke it at once? {mail}.", yes=yes):
        say(cli, "Nothing was created.")
        return DECLINED
    with stop_on_signals(installation.stop) as signals, progress(cli, "sending a canary"):
        report = sealed(partial(send_canary, pat=pat, results=results))(run)
    if report.is_stopped:
        note_stop(cli, report)
        return signals.choose_exit_code(report, RunMode.BY_HAND)
    return _print(cli, tuple(results), ending=f"{mail}." if _was_minted(results) else "No PAT was created.")


def _was_minted(results: list[CheckResult]) -> bool:
    return any(result.name != "canary_mint" for result in results)


def _choose_place(installation: Installation, account: str | None, organization: str | None) -> tuple[str, str]:
    known = {one.name: one.organizations for one in installation.accounts}
    if len(known) != 1 and not account and not organization:
        fix = f"Accounts: {', '.join(sorted(known))}. `rotator accounts` shows the organizations of each."
        raise UsageError("a canary needs --account and --organization", fix=fix)
    account = account or _find_only("--account", list(known))
    return account, organization or _find_only("--organization", list(known.get(account, ())))


def _find_only(option: str, names: list[str]) -> str:
    if len(names) != 1:
        raise UsageError(f"a canary needs {option}", fix=f"Use one of: {', '.join(sorted(names))}.")
    return names[0]


def _print(cli: CliContext, results: tuple[CheckResult, ...], *, ending: str) -> int:
    from rotator.cli.console import print_json, print_table, say
    from rotator.cli.output.doctor import (
        COLUMNS,
        find_code_of_checks,
        list_check_rows,
        render_fixes,
        render_problems,
        render_summary,
    )
    from rotator.documents.doctor import make_doctor_document

    if cli.as_json:
        print_json(make_doctor_document(results))
    elif cli.quiet:
        for line in render_problems(results):
            say(cli, line)
    else:
        print_table(cli, COLUMNS, list(list_check_rows(results)))
        for line in ("", *render_fixes(results), render_summary(results, ending)):
            say(cli, line)
    return find_code_of_checks(results)
