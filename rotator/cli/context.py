"""The options that every command has, before and after its name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from rotator.cli.selection import Selection

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_WIDEST_EXAMPLE = 72


@dataclass
class CliContext:
    """What was asked for on the command line. Commands get it with `click.pass_obj`."""

    config: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbosity: int = 0
    no_input: bool = False
    reason: str | None = None
    """Why a person does it (`--reason`), without anything that looks like a secret."""
    changing: str | None = None
    """The command, where it is one that changes something; a reason can be given for each of these."""
    words: tuple[str, ...] = ()
    """The command line, as it was typed."""
    told: set[str] = field(default_factory=set)
    """The codes of the errors that were told in words."""
    release_logs: Callable[[Collection[str]], None] | None = None
    """Writes the log lines that were held back, once there is a log: but for those of codes that were told."""

    @cached_property
    def selection(self) -> Selection:
        """Which PATs to show, for commands that show many; all, until options say otherwise."""
        from rotator.cli.selection import Selection

        return Selection()

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer a question."""
        return not self.no_input and sys.stdin is not None and sys.stdin.isatty()


def common_options(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Give a command `--config`, `--json`, `--quiet`, `--verbose` and `--no-input`; values go to the CliContext."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def reason_option(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Give a command that a person runs by hand `--reason`; the text goes to the CliContext."""
    return click.option(
        "--reason",
        metavar="TEXT",
        expose_value=False,
        callback=_keep_reason,
        help="Why you are doing this, for the audit log.",
    )(command)


def examples(*lines: str) -> str:
    """Make an epilog of examples: what to type, and after two spaces or more what it does, if that needs saying.

    The explanations form a column of their own or, where that is too wide, stand below their command.
    """
    pairs = [re.fullmatch(r"(\s*\S.*?)(?:\s{2,}(\S.*))?", line) for line in lines]
    split = [(found[1], found[2]) for found in pairs if found]
    column = max(len(command) for command, _ in split)
    is_wide = any(meaning and column + len(meaning) > _WIDEST_EXAMPLE for _, meaning in split)
    text = ["\b", "Examples:"]
    for command, meaning in split:
        if meaning and not is_wide:
            text.append(f"  {command.ljust(column)}  {meaning}")
        else:
            text += [f"  {command}", *([f"      {meaning}"] if meaning else [])]
    return "\n".join(text)


def _keep_config(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(CliContext).config = Path(value)


def _keep_flag(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        setattr(context.ensure_object(CliContext), str(parameter.name), True)


def _keep_reason(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.ensure_object(CliContext).changing = context.command_path.partition(" ")[2]
    if value is not None:
        from rotator.wiring.logs import redact

        context.ensure_object(CliContext).reason = redact(value.strip()) or None


def _keep_verbosity(context: click.Context, _: click.Parameter, value: int) -> None:
    context.ensure_object(CliContext).verbosity += value


_OPTIONS = (
    click.option(
        "--config",
        metavar="PATH",
        type=click.Path(path_type=str),
        expose_value=False,
        callback=_keep_config,
        help="The settings file. Default: ROTATOR_CONFIG, ./rotator.yaml, /etc/rotator/rotator.yaml.",
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        expose_value=False,
        callback=_keep_flag,
        help="Print one JSON document instead of text.",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_keep_flag,
        help="Print only the requested data, and errors.",
    ),
    click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_keep_verbosity,
        help="More output on stderr; -vv for everything.",
    ),
    click.option(
        "--no-input",
        is_flag=True,
        expose_value=False,
        callback=_keep_flag,
        help="Never prompt for input.",
    ),
)


def is_terminal(stream: object) -> bool:
    """Whether this stream shows people what is written to it."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def has_colour(stream: object) -> bool:
    """Whether colours may go to this stream: a terminal, and no NO_COLOR."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
