"""`rotator runbook`: what an alarm means, and what to do about it."""

from __future__ import annotations

import click

from rotator.cli.context import common_options, examples
from rotator.errors import NotManagedError, UsageError


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

    NAME is as in notifications and in `rotator status --check`; that of an event in the audit log works too, if the
    event begins an alarm. Without a name, lists all alarms. Contacts no service.
    """
    from rotator.cli.console import echo
    from rotator.cli.output.runbook import render_entry, render_names
    from rotator.cli.selection import check_known
    from rotator.domain.runbook_events import find_entry_name, list_entries

    entries = dict(list_entries())
    names = tuple(dict.fromkeys(map(find_entry_name, names)))
    _refuse_other_events(names)
    check_known("alarm", names, list(entries), "`rotator runbook` lists them.", globs=False)
    for line in render_names() if not names else ():
        echo(line)
    for place, name in enumerate(names):
        echo(("\n" if place else "") + "\n".join(render_entry(name, entries[name])))


def _refuse_other_events(names: tuple[str, ...]) -> None:
    from rotator.domain.runbook_events import explain_other_event

    for name in names:
        explained = explain_other_event(name)
        if explained is not None:
            raise UsageError(
                f"{name} is an event of the audit log, not an alarm: {explained}",
                code=NotManagedError.code,
                fix=f"Nothing to do. `rotator audit list --event {name}` shows when it happened.",
            )
