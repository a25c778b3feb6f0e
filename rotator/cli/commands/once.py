"""`rotator once`: one run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples

if TYPE_CHECKING:
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator once                 rotate what is due, revoke what was replaced",
        "rotator once --dry-run       only show what would be done",
        "rotator once --quiet         for cron: prints only what failed",
        "rotator once --json          what was done, for scripts",
    )
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@common_options
@click.pass_obj
def once(cli: CliContext, dry_run: bool) -> int:
    """Do one run: look at the server, finish what was interrupted, rotate what is due, revoke what was replaced.

    Exit codes: 0 nothing failed in this run (what was blocked before may still be: see `rotator status --check`),
    1 all failed, 3 some failed, 10 a person must sign in, 11 another run was at work.
    """
    from rotator.cli.counting import count_due
    from rotator.cli.reporting import do_and_print
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.engine.context import RunMode
    from rotator.engine.exit_codes import find_code_of_report
    from rotator.engine.run import run_once
    from rotator.engine.run_memory import run_and_remember
    from rotator.wiring.monitoring import monitored_run

    with open_installation(cli) as installation:
        if dry_run:
            return _show_plan(cli, installation)
        with stop_on_signals(installation.stop) as signals:
            with monitored_run(installation) as monitored:
                act = partial(monitored.act, act=partial(run_and_remember, act=run_once))
                report = do_and_print(cli, installation, act, what="looking at every PAT", looks=True, count=count_due)
                code = monitored.end(find_code_of_report(report, RunMode.DUE))
            return signals.put_interruption_first(code)


def _show_plan(cli: CliContext, installation: Installation) -> int:
    from rotator.cli.console import note, print_json
    from rotator.cli.output.plan import print_plan
    from rotator.documents.report import make_dry_run_document
    from rotator.wiring.installation import make_run_id
    from rotator.wiring.sign_ins import make_plan_for_people

    made = make_plan_for_people(installation, partial(note, cli))
    if cli.as_json:
        print_json(make_dry_run_document(made, make_run_id()))
    else:
        print_plan(cli, made, ending="This was a dry run: no changes were made.")
    return 0
