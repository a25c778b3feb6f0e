"""`rotator rotate`: rotate now, by hand."""

from __future__ import annotations

import click

from rotator.cli.context import CliContext, common_options, examples


@click.command(
    epilog=examples(
        "rotator rotate npm-feed            make a new one now; the old one stays valid for the overlap",
        "rotator rotate npm-feed ci-build   several",
        "rotator inventory list             the names there are",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@common_options
@click.pass_obj
def rotate(cli: CliContext, names: tuple[str, ...]) -> int:
    """Rotate these PATs now, due or not, paused or not. Guardrails of the policy hold all the same."""
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.engine.cycle import rotate_by_hand

    wanted = list(dict.fromkeys(names))
    with open_installation(cli) as installation:
        return print_report(cli, installation.make_run(), lambda run: rotate_by_hand(run, wanted), what="rotating")
