"""`rotator recover`: finish what was interrupted, and show what a person must decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.engine.context import RunContext
    from rotator.wiring.installation import Installation


NOTHING = "Nothing was interrupted, and no PAT was left behind."


@click.command(
    epilog=examples(
        "rotator recover --dry-run           what was interrupted, and which PATs were left behind",
        "rotator recover                     bring what was interrupted to a safe end; rotate nothing new",
        "rotator recover --revoke ID         revoke a PAT that was left behind, once nobody uses it; asks first",
    )
)
@click.option("--dry-run", is_flag=True, help="Show what was found; change nothing.")
@click.option("--revoke", "authorization_id", metavar="ID", help="Revoke this PAT, which was left behind.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def recover(cli: CliContext, dry_run: bool, authorization_id: str | None, yes: bool) -> int:
    """Finish interrupted rotations, as far as that is safe now. Every `rotator once` starts with this.

    Lists PATs that were left behind, and revokes one only with --revoke.
    """
    from rotator.cli.session import open_installation

    if dry_run and authorization_id:
        raise UsageError("--dry-run and --revoke cannot be combined", fix="Leave one of them out.")
    with open_installation(cli) as installation:
        if authorization_id:
            return _revoke(cli, installation, authorization_id, yes=yes)
        if dry_run:
            return _show(cli, installation.make_run(cli.reason))
        return _recover(cli, installation)


def _recover(cli: CliContext, installation: Installation) -> int:
    from rotator.cli.console import print_json, progress
    from rotator.cli.output.recovery import render_left_behind
    from rotator.cli.output.report import render_done
    from rotator.cli.reporting import note_stop, print_lines
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.report import make_recover_document
    from rotator.engine.context import RunMode
    from rotator.engine.recovery import recover_all

    run = installation.make_run(cli.reason)
    with stop_on_signals(installation.stop) as signals, progress(cli, "finishing what was interrupted"):
        recovery = recover_all(run)
    report = recovery.report
    if cli.as_json:
        print_json(make_recover_document(report, recovery.left_behind))
    else:
        lines = [*render_done(report, run.services.clock.now()), *map(render_left_behind, recovery.left_behind)]
        print_lines(cli, report, lines, otherwise=NOTHING)
    note_stop(cli, report)
    return signals.choose_exit_code(report, RunMode.RECOVER)


def _revoke(cli: CliContext, installation: Installation, authorization_id: str, *, yes: bool) -> int:
    from rotator.cli.console import print_json, say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.output.words import NOT_CONFIRMED
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.revocation import make_revocation_document, make_revoked_document
    from rotator.engine.left_behind import revoke_left_behind
    from rotator.engine.revoking import is_confirmed

    what = f"revoking {authorization_id} breaks whoever still uses it"
    check_can_confirm(cli, what, f"recover --revoke {authorization_id}", yes=yes)
    if not is_sure(cli, f"Revoke {authorization_id} now? Whoever still uses it will fail.", yes=yes):
        say(cli, "Nothing was revoked.")
        return DECLINED
    run = installation.make_run(cli.reason)
    with stop_on_signals(installation.stop):
        left = revoke_left_behind(run, authorization_id)
        confirmed = is_confirmed(run, left.pat.authorization_id)
    name, kind = left.name, left.kind.value.replace("_", " ")
    if cli.as_json:
        revoked = make_revoked_document(name, left.kind, authorization_id, confirmed=confirmed)
        print_json(make_revocation_document(run.run_id, [revoked]))
    say(cli, f"revoked  {authorization_id}, left behind by {name} ({kind})")
    if not confirmed:
        say(cli, NOT_CONFIRMED)
    return 0


def _show(cli: CliContext, run: RunContext) -> int:
    from rotator.cli.console import echo, print_json, progress, say
    from rotator.cli.output.recovery import render_down, render_recovery_plan
    from rotator.documents.recovery import make_recovery_plan_document
    from rotator.engine.exit_codes import find_code_of_errors
    from rotator.engine.recovery import plan_recovery

    with progress(cli, "looking at every PAT"):
        plan = plan_recovery(run)
    if cli.as_json:
        print_json(make_recovery_plan_document(plan))
    else:
        for line in render_down(plan.found):
            echo(line, err=True)
    for line in render_recovery_plan(plan):
        say(cli, line)
    if plan.is_empty:
        say(cli, NOTHING)
    return find_code_of_errors(plan.found.down.values(), done=bool(plan.found.listings))
