"""`rotator rotate`: rotate now, by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import expand

if TYPE_CHECKING:
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator rotate npm-feed            make a new PAT now; the old PAT stays valid for the overlap",
        "rotator rotate npm-feed 'team01*'  several",
        "rotator rotate 'team01*' --dry-run  only show what would be done",
        "rotator inventory list             show the names",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete("pat"))
@click.option("--dry-run", is_flag=True, help="Show what would be done and what is refused, and do nothing.")
@reason_option
@common_options
@click.pass_obj
def rotate(cli: CliContext, names: tuple[str, ...], dry_run: bool) -> int:
    """Rotate these PATs now, due or not, paused or not. The policy's guardrails still apply. A NAME may be a glob.

    A dry run asks no server: it goes by rotator's own records and the policy. Its exit code is that of the
    rotation if nothing else gets in the way.
    """
    from rotator.cli.freezes import note_freezes
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.engine.context import RunMode
    from rotator.engine.run import rotate_by_hand

    with open_installation(cli) as installation:
        wanted = list(expand(names, installation.database))
        note_freezes(cli, installation.make_run(cli.reason), wanted)
        if dry_run:
            return _show(cli, installation, wanted)
        return print_report(
            cli,
            installation,
            lambda given: rotate_by_hand(given, wanted),
            what="rotating",
            mode=RunMode.BY_HAND,
            count=lambda _: len(wanted),
        )


def _show(cli: CliContext, installation: Installation, names: list[str]) -> int:
    from rotator.cli.console import echo, note, print_json
    from rotator.cli.output.plan import print_plan
    from rotator.cli.output.report import render_failures
    from rotator.documents.report import make_dry_run_document
    from rotator.domain.plan import ActionKind, ActionReason
    from rotator.engine.exit_codes import find_exit_code
    from rotator.engine.report import RunReport
    from rotator.engine.still_overlapping import check_overlap, leave_out
    from rotator.wiring.sign_ins import make_plan_for_people

    run = installation.make_run(cli.reason)
    refused = RunReport(run.run_id)
    for outcome in check_overlap(run, names):
        refused.add(outcome)
    made = make_plan_for_people(installation, partial(note, cli), list(leave_out(names, refused.outcomes)))
    if cli.as_json:
        print_json(make_dry_run_document(made, run.run_id, refused))
    if made.actions:
        print_plan(cli, made, ending="This was a dry run: no changes were made.", secrets=True)
    for line in render_failures(refused):
        echo(line, err=True)
    blocked = made.of_kind(ActionKind.BLOCKED)
    return find_exit_code(
        done=len(blocked) < len(made.actions),
        failed=bool(blocked or refused.outcomes),
        needs_sign_in=any(action.reason is ActionReason.SIGN_IN_NEEDED for action in blocked),
    )
