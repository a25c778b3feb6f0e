"""What our command line makes of the words that a page or a text shows: parsed as typed, and not run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli.context import CliContext
from rotator.cli.main import rotator


def find_problem(words: Sequence[str], *, whole: bool = True) -> str | None:
    """Why nobody can type `rotator` with these words, or None. Not `whole`: what a text leaves out does not matter."""
    try:
        _parse(words)
    except click.exceptions.Exit:  # --help and --version
        return None
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
        return f"{type(error).__name__}: {error.format_message()}" if whole else None
    except click.BadOptionUsage as error:
        return None if not whole and "requires an argument" in error.message else error.message
    except click.ClickException as error:
        return error.format_message()
    return None


def _parse(words: Sequence[str]) -> None:
    """Let each group and the command at the end take their words, as click does before it calls a command."""
    name: str | None = "rotator"
    command: click.Command | None = rotator
    context, rest = None, list(words)
    while command is not None:
        context = command.make_context(name, rest, parent=context, obj=CliContext())
        if not isinstance(command, click.Group):
            return
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
