"""What cannot be taken back is confirmed: asked about on a terminal; where there is none, only `--yes` will do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from rotator.cli.context import CliContext
from rotator.errors import UsageError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def yes_option(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Give a command `--yes`, which it hands to `check_can_confirm` and `is_sure`."""
    return click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal.")(command)


def check_can_confirm(cli: CliContext, what: str, command: str, *, yes: bool) -> None:
    """Raise UsageError when nobody said yes and nobody can be asked. `what` it does, and the `command` that does it.

    The command is as it was typed, but for a reason.
    """
    reason = f" --reason {shlex.quote(cli.reason)}" if cli.reason else ""
    if not yes and not cli.may_ask:
        raise UsageError(
            f"{what}, and there is no terminal to ask on",
            code="confirmation_needed",
            fix=f"Confirm with `rotator {command}{reason} --yes`.",
        )


def is_sure(cli: CliContext, question: str, *, yes: bool) -> bool:
    """Whether a person wants it: said with `--yes`, or on the terminal now. Call `check_can_confirm` first."""
    from rotator.cli.console import clean, confirm

    return yes or confirm(cli, clean(question))
