"""How commands speak: data on stdout, everything else on stderr, in lines that people read."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from rotator.cli.context import CliContext, has_colour

_GAP = "  "
_LEAST_WIDTH = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Column:
    """A column of a table. Only those that `fold` give way, over several lines, when a row is too wide."""

    title: str
    fold: bool = False


@dataclass(frozen=True)
class Cell:
    """Text with a colour of click's; the text alone says everything."""

    text: str
    colour: str | None = None


def print_json(document: Mapping[str, object], *, in_one_line: bool = False) -> None:
    """Write a JSON document to stdout at once."""
    click.echo(json.dumps(document, indent=None if in_one_line else 2))
    sys.stdout.flush()


def say(cli: CliContext, text: str = "") -> None:
    """Print a line of the answer on stdout; nothing with --json, whose one document is the answer."""
    if not cli.as_json:
        click.echo(text)


def note(cli: CliContext, text: str) -> None:
    """Print a remark on stderr; nothing with --quiet."""
    if not cli.quiet:
        click.echo(text, err=True)


def note_warnings(cli: CliContext, warnings: Iterable[str]) -> None:
    """Print warnings about the files on stderr, each with its place."""
    for warning in warnings:
        note(cli, f"warning: {warning}")


def clean(text: str) -> str:
    """Return text from outside in one line, without control characters."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def paint(text: str, colour: str | None) -> str:
    """The text in a colour, on a stdout that may have one."""
    return click.style(text, fg=colour) if colour and has_colour(sys.stdout) else text


def print_table(cli: CliContext, columns: Sequence[Column | str], rows: Sequence[Sequence[Cell | str]]) -> None:
    """A table on stdout within the terminal's width, 80 columns where there is none. Nothing is cut off."""
    if cli.as_json:
        return
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[_make_cell(cell) for cell in row] for row in rows]
    widths = _fit([head.title for head in heads], cells, [head.fold for head in heads], _terminal_width())
    lines = [_render_row([Cell(head.title.upper()) for head in heads], widths)]
    lines += [_render_row(row, widths) for row in cells]
    click.echo("\n".join(lines))


def wrap(text: str, indent: str = "") -> str:
    """A paragraph in lines of at most 78 columns; words are never broken, so that addresses can be copied."""
    return textwrap.fill(
        clean(text), 78, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def confirm(cli: CliContext, question: str) -> bool:
    """Ask on the terminal, `no` being the default. Callers make sure that `cli.may_ask`."""
    return click.confirm(question, default=False, err=True)


@contextmanager
def progress(cli: CliContext, text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr while something takes long, on a terminal only; the value changes its text."""
    if cli.quiet or cli.verbosity or not has_colour(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(clean(text))) as status:
        yield lambda newer: status.update(Text(clean(newer)))


def _make_cell(cell: Cell | str) -> Cell:
    return Cell(clean(cell)) if isinstance(cell, str) else Cell(clean(cell.text), cell.colour)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _terminal_width() -> int:
    return shutil.get_terminal_size((80, 24)).columns or 80


def _fit(titles: list[str], rows: list[list[Cell]], folds: list[bool], available: int) -> list[int]:
    """The columns' widths: what they need, the widest of those that fold made narrower until all fits."""
    widths = [max([_width(title), *(_width(row[place].text) for row in rows)]) for place, title in enumerate(titles)]
    least = [max(_LEAST_WIDTH, _width(title)) for title in titles]
    room = available - len(_GAP) * (len(titles) - 1)
    while sum(widths) > room:
        able = [place for place, fold in enumerate(folds) if fold and widths[place] > least[place]]
        if not able:
            break
        widths[max(able, key=lambda place: widths[place])] -= 1
    return widths


def _render_row(row: list[Cell], widths: list[int]) -> str:
    folded = [_fold(cell.text, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, folded))):
        parts = []
        for cell, pieces, width in zip(row, folded, widths, strict=True):
            piece = pieces[number] if number < len(pieces) else ""
            parts.append(paint(piece, cell.colour) + " " * (width - _width(piece)))
        lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines)


def _fold(text: str, width: int) -> list[str]:
    """The text in pieces of at most that width, broken after spaces, hyphens and the like where it can be."""
    if _width(text) <= width:
        return [text]
    pieces, piece = [], ""
    for word in re.findall(r"[^ ,/_.-]*[ ,/_.-]?", text):
        if _width(piece + word.rstrip()) > width and piece:
            pieces.append(piece.rstrip())
            piece = ""
        piece += word
        while _width(piece.rstrip()) > width:
            end = next(end for end in range(len(piece), 0, -1) if _width(piece[:end]) <= width)
            pieces.append(piece[:end])
            piece = piece[end:]
    return [*pieces, piece.rstrip()] if piece.rstrip() or not pieces else pieces
