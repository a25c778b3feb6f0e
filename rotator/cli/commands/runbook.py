"""`rotator runbook`: what an alarm means, and what to do about it."""

from __future__ import annotations

import click

from rotator.cli.context import common_options, examples


@click.command(
    epilog=examples(
        "rotator runbook                    every alarm, with its name",
        "rotator runbook sign_in_needed     what this one means, and what to do",
    )
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@common_options
def runbook(names: tuple[str, ...]) -> None:
    """Show what an alarm means, what happens if nobody does anything, the command and the fix.

    Notifications and `rotator status --check` give the name. Without a name, lists all alarms. Contacts no service.
    """
    from rotator.cli.console import echo
    from rotator.cli.output.runbook import render_entry, render_names
    from rotator.cli.selection import check_known
    from rotator.domain.runbook_events import list_entries

    entries = dict(list_entries())
    check_known("alarm", names, list(entries), "`rotator runbook` lists them.", globs=False)
    for line in render_names() if not names else ():
        echo(line)
    for place, name in enumerate(names):
        echo(("\n" if place else "") + "\n".join(render_entry(name, entries[name])))
