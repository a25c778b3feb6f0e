"""`rotator help`: what a command does, as its `--help` says."""

from __future__ import annotations

import click

from rotator.cli.context import common_options, examples


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The commands of the group that the words before lead to."""
    found = context.find_root()
    for word in context.params.get(str(parameter.name)) or ():
        command = found.command.get_command(found, word) if isinstance(found.command, click.Group) else None
        if command is None:
            return []
        found = click.Context(command, found, word)
    names = found.command.list_commands(found) if isinstance(found.command, click.Group) else []
    return [name for name in names if name.startswith(incomplete)]


@click.command(
    "help",
    epilog=examples("rotator help", "rotator help plan", "rotator help inventory adopt"),
)
@click.argument("words", metavar="[COMMAND...]", nargs=-1, shell_complete=_complete)
@common_options
@click.pass_context
def help_command(context: click.Context, words: tuple[str, ...]) -> None:
    """Show what rotator does, or a command of it, with its options and examples."""
    found = context.find_root()
    for word in words:
        if not isinstance(found.command, click.Group):
            raise click.UsageError(f"'{found.command_path}' has no commands", ctx=found)
        _, command, _ = found.command.resolve_command(found, [word])
        if command is not None:
            found = click.Context(command, found, word)
    click.echo(found.get_help())
