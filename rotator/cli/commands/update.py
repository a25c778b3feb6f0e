"""`rotator update`: another display name, other scopes or another lifetime."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import take_one

if TYPE_CHECKING:
    from rotator.engine.updating import Change
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator update npm-feed --scope vso.packaging --scope vso.code    exactly these scopes",
        "rotator update npm-feed --display-name npm-publish --lifetime 60d",
        "rotator update npm-feed ... --dry-run    check everything, and change nothing",
    )
)
@click.argument("name", callback=take_one, shell_complete=complete("pat"))
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="A scope of the new PAT, such as vso.code. Name every scope that it should have.",
)
@click.option("--display-name", metavar="TEXT", help="The new PAT's name in Azure DevOps.")
@click.option("--lifetime", metavar="DURATION", help="The lifetime of the new PAT, such as 30d.")
@click.option("--dry-run", is_flag=True, help="Check everything, and change nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def update(
    cli: CliContext,
    name: str,
    scopes: tuple[str, ...],
    display_name: str | None,
    lifetime: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Rotate a PAT now, and give the new one other scopes, another display name or another lifetime.

    The old PAT stays valid for the overlap. If policy, server or vault refuse, the PAT stays as it is. The lifetime
    applies until a rule of the policy sets another. What an earlier update asked for, and no run has done yet, still
    applies unless this one changes it. A lifetime that ends before the PAT in use expires is asked about.
    """
    from rotator.cli.console import say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.cli.wanted import read_lifetime, read_scopes
    from rotator.engine.context import RunMode
    from rotator.engine.updating import make_change
    from rotator.engine.updating import update as apply

    change = make_change(
        name,
        display_name=display_name,
        scopes=read_scopes(scopes),
        lifetime=None if lifetime is None else read_lifetime(lifetime),
    )
    otherwise = f"{name} already is what you asked for. Nothing to do."
    with open_installation(cli) as installation:
        if dry_run:
            return _show(cli, installation, change, otherwise)
        if not yes and not _is_meant(cli, installation, change, lifetime or ""):
            say(cli, "Nothing was changed.")
            return DECLINED
        return print_report(
            cli,
            installation,
            lambda run: apply(run, change),
            what="updating",
            mode=RunMode.BY_HAND,
            otherwise=otherwise,
        )


def _is_meant(cli: CliContext, installation: Installation, change: Change, lifetime: str) -> bool:
    """Whether a person wants a PAT that expires before the one in use would."""
    from rotator.domain.words import say_moment
    from rotator.engine.updating import find_earlier_end

    ends = find_earlier_end(installation.make_run(cli.reason), change)
    if ends is None:
        return True
    old, new = map(say_moment, ends)
    said = f"the new PAT of {change.name} would expire {new}, before the one in use ({old})"
    words = [f"update {change.name} --lifetime {shlex.quote(lifetime)}"]
    words += [f"--scope {scope}" for scope in change.scopes or ()]
    words += [f"--display-name {shlex.quote(change.display_name)}"] if change.display_name else []
    check_can_confirm(cli, said, " ".join(words), yes=False)
    return is_sure(cli, f"{said[0].upper()}{said[1:]}. Rotate it all the same?", yes=False)


def _show(cli: CliContext, installation: Installation, change: Change, otherwise: str) -> int:
    from rotator.cli.console import clean, print_json, progress, say
    from rotator.cli.output.plan import render_action
    from rotator.documents.report import make_preview_document
    from rotator.domain.exit_code import DONE
    from rotator.engine.updating import preview

    run = installation.make_run(cli.reason)
    with progress(cli, "asking Azure DevOps and Key Vault"):
        seen = preview(run, change)
    if cli.as_json:
        print_json(make_preview_document(seen, run.run_id))
    if seen.action is None:
        say(cli, otherwise)
    else:
        pat = seen.wanted.as_wanted()
        say(cli, render_action(seen.action._replace(pat=pat), run.services.clock.now()))
        say(cli, clean(f"    display name {pat.display_name}"))
    say(cli, "This was a dry run: no changes were made.")
    return DONE
