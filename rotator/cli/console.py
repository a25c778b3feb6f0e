"""How commands speak: data on stdout, everything else on stderr, in lines that people read."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click

from rotator.cli.context import CliContext, has_colour, is_terminal
from rotator.cli.widths import Column
from rotator.domain.outside import show_hidden

GAP = "  "
INDENT = "    "
_KEPT_SPACE = "\0"
_COMMAND = re.compile(r"`[^`]*`")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?Z")
_AFTER_PLACE = "): "
"""In `rotated  npm-feed  (contoso): ...`: what follows is a sentence, and begins on the line of its subject."""
_PART = re.compile(r"\S+(?: \S+)*")


class Cell(NamedTuple):
    """Text with one of click's colours; nothing is said by colour alone."""

    text: str
    colour: str | None = None


def print_json(document: Mapping[str, object], *, in_one_line: bool = False) -> None:
    """Write a JSON document to stdout at once: indented where people see it, in one line for programs."""
    import json

    click.echo(json.dumps(document, indent=2 if is_terminal(sys.stdout) and not in_one_line else None))
    sys.stdout.flush()


def echo(text: str, *, err: bool = False) -> None:
    """Print lines on stdout or stderr, folded where people see them in a width."""
    width = find_width(sys.stderr if err else sys.stdout)
    click.echo(text if width is None else fold(text, width), err=err)


def say(cli: CliContext, text: str = "") -> None:
    """Print a line of the answer on stdout; nothing with --json, whose one document is the answer."""
    if not cli.as_json:
        echo(text)


def say_command(cli: CliContext, command: str) -> None:
    """Print a command of the answer, never folded, so that it can be copied; nothing with --json."""
    if not cli.as_json:
        click.echo(INDENT + command)


def note(cli: CliContext, text: str) -> None:
    """Print a remark on stderr; nothing with --quiet."""
    if not cli.quiet:
        echo(text, err=True)


def note_command(cli: CliContext, command: str) -> None:
    """Print a command on stderr, alone on its line and never folded, so that it can be copied; nothing with --quiet."""
    if not cli.quiet:
        click.echo(INDENT + command, err=True)


def note_warnings(cli: CliContext, warnings: Iterable[str]) -> None:
    """Print warnings about the files on stderr, each with its place."""
    for warning in warnings:
        note(cli, f"warning: {warning}")


def clean(text: str) -> str:
    """Return text from outside in one line, without control characters."""
    return show_hidden(text)


def paint(text: str, colour: str | None) -> str:
    """The text in a colour, on a stdout that may have one."""
    return click.style(text, fg=colour) if colour and has_colour(sys.stdout) else text


def print_table(cli: CliContext, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]) -> None:
    """A table on stdout: one line for each row, or within the width of the terminal where there is one."""
    if cli.as_json:
        return
    cells = [[_make_cell(cell) for cell in row] for row in rows]
    width = find_width(sys.stdout)
    if width is not None:
        from rotator.cli.tables import print_within_width

        print_within_width(columns, cells, width)
        return
    titles = [column.title.upper() for column in columns]
    widths = [max(measure(text) for text in texts) for texts in zip(titles, *_list_texts(cells), strict=True)]
    for texts in (titles, *_list_texts(cells)):
        padded = [text + " " * (width - measure(text)) for text, width in zip(texts, widths, strict=True)]
        click.echo(GAP.join(padded).rstrip())


def find_width(stream: object) -> int | None:
    """The columns that people see of this stream: COLUMNS, else those of the terminal; None where there is none."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return shutil.get_terminal_size((80, 24)).columns or 80 if is_terminal(stream) else None


def fold(text: str, width: int, *, hang: str = INDENT) -> str:
    """The lines of the text in at most that width where that can be, each going on under itself, moved in by `hang`.

    Words are never broken, nor moments, nor commands in backticks, nor, where they fit into a line, the parts of a line
    that two spaces set apart: what is to be copied stays whole. A command that is longer than a line has one to itself.
    """
    return "\n".join(_fold_line(line, width, hang) for line in text.split("\n"))


def _fold_line(line: str, width: int, hang: str) -> str:
    if measure(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip())) + hang

    def keep(found: re.Match[str]) -> str:
        return found.group().replace(" ", _KEPT_SPACE)

    def keep_if_short(found: re.Match[str]) -> str:
        is_sentence = _AFTER_PLACE in found.group()
        return found.group() if is_sentence or len(found.group()) > width - len(indent) else keep(found)

    kept = _COMMAND.sub(keep, _PART.sub(keep_if_short, line) if GAP in line.strip() else line)
    kept = _MOMENT.sub(keep, kept)
    folded = textwrap.fill(
        kept,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return folded.replace(_KEPT_SPACE, " ")


def confirm(cli: CliContext, question: str) -> bool:
    """Ask on the terminal, `no` being the default. Callers make sure that `cli.may_ask`."""
    asked, width = f"{question} [y/N]:", find_width(sys.stderr)
    asked = asked if width is None else fold(asked, width - 2)  # the answer goes on the same line
    with ending_line():
        return click.confirm(asked, default=False, show_default=False, prompt_suffix=" ", err=True)


@contextmanager
def ending_line() -> Iterator[None]:
    """Whoever breaks a question off has the next line begin below it."""
    try:
        yield
    except click.Abort:
        click.echo(err=True)
        raise


def shows_progress(cli: CliContext) -> bool:
    """Whether a person sees on a terminal how far something is; with -v the log says it."""
    return not cli.quiet and not cli.verbosity and has_colour(sys.stderr)


@contextmanager
def progress(cli: CliContext, text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr while something takes long, on a terminal only; the value changes its text."""
    if not shows_progress(cli):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(clean(text))) as status:
        yield lambda newer: status.update(Text(clean(newer)))


def _make_cell(cell: Cell | str) -> Cell:
    return Cell(clean(cell)) if isinstance(cell, str) else Cell(clean(cell.text), cell.colour)


def measure(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _list_texts(cells: list[list[Cell]]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in cells]
