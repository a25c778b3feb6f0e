"""`rotator plan`: what a run would do now."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.selecting import print_csv, print_names, selection_options
from rotator.cli.selection import Form
from rotator.domain.plan import ActionKind


@click.command(
    epilog=examples(
        "rotator plan                        what would happen, and why",
        "rotator -v plan                     PATs with nothing to do too, each with its reason",
        "rotator plan --detailed-exitcode    exit code 20 when changes are pending",
        "rotator plan 'team01*' --sort expires",
        "rotator plan --json                 every PAT with its action, for scripts",
    )
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 20 if a run would change something.")
@selection_options(kind.value for kind in ActionKind)
@common_options
@click.pass_obj
def plan(cli: CliContext, detailed_exitcode: bool) -> int:
    """Show what a run would do now, and why. Asks no server and changes nothing.

    If a person must sign an account in first, the first line says so and how many PATs wait for it; those that are
    due now are shown as blocked. If an account, an organization or a vault did not work last, that comes first, too.
    """
    from rotator.cli.console import note, note_warnings, print_json, say
    from rotator.cli.exit_codes import CHANGES_PENDING
    from rotator.cli.output.plan import NONE_CHOSEN, describe_action, print_plan
    from rotator.cli.output.status import render_down
    from rotator.cli.session import open_installation
    from rotator.documents.plan import ActionDocument, make_plan_document
    from rotator.domain.exit_code import DONE
    from rotator.wiring.sign_ins import make_plan_for_people

    with open_installation(cli) as installation:
        whole = make_plan_for_people(installation, partial(note, cli))
        note_warnings(cli, installation.policy_warnings)
        with installation.database.read() as reading:
            conditions = tuple(reading.conditions.load())
    actions = cli.selection.choose(whole.actions, describe_action, whole.made_at)
    chosen = {action.pat.name for action in actions}
    made = replace(whole, actions=actions, postponed=tuple(name for name in whole.postponed if name in chosen))
    if cli.as_json:
        print_json(make_plan_document(made))
    elif cli.selection.form is Form.NAME:
        print_names(action.pat.name for action in made.actions)
    elif cli.selection.form is Form.CSV:
        print_csv(make_plan_document(made)["actions"], ActionDocument)
    elif whole.actions and not made.actions:
        say(cli, NONE_CHOSEN)
    else:
        for line in render_down(conditions, made.made_at):
            say(cli, line)
        print_plan(cli, made, ending="No changes were made.")
    return CHANGES_PENDING if detailed_exitcode and made.has_changes else DONE
