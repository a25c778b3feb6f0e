"""`rotator rotate`: rotate now, by hand."""

from __future__ import annotations

import click

from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import expand


@click.command(
    epilog=examples(
        "rotator rotate npm-feed            make a new one now; the old one stays valid for the overlap",
        "rotator rotate npm-feed 'team01*'  several",
        "rotator inventory list             show the names",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@reason_option
@common_options
@click.pass_obj
def rotate(cli: CliContext, names: tuple[str, ...]) -> int:
    """Rotate these PATs now, due or not, paused or not. The policy's guardrails still apply. A NAME may be a glob."""
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.engine.context import RunMode
    from rotator.engine.run import rotate_by_hand

    with open_installation(cli) as installation:
        wanted = list(expand(names, installation.database))
        return print_report(
            cli, installation, lambda given: rotate_by_hand(given, wanted), what="rotating", mode=RunMode.BY_HAND
        )
