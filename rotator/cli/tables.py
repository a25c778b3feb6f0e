"""Tables within the width of a terminal, drawn by the library for terminals, which is loaded only for this."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from rotator.cli.console import GAP, INDENT, Cell, fold, measure, paint
from rotator.cli.context import has_colour
from rotator.cli.widths import Column, choose_usual, find_lower, find_usual, share_width

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NAME = "NAME"
"""What tells a row apart, in what is said of all rows."""
_MANY = 20
"""With fewer rows each shows all of it."""


def print_within_width(columns: Sequence[Column], cells: list[list[Cell]], width: int) -> None:
    """Print the table: what is the same for all rows once and above them, what does not fit below its row."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=width, highlight=False, no_color=not has_colour(sys.stdout))
    same, gone = _find_gone(columns, cells)
    for place in same:
        console.print(Text(f"{columns[place].title}: {cells[0][place].text}"), soft_wrap=True)
    shown = [column for place, column in enumerate(columns) if place not in gone]
    titles = [Cell(column.title.upper()) for column in shown]
    rows = [titles, *([cell for place, cell in enumerate(row) if place not in gone] for row in cells)]
    measured = [[measure(row[place].text) for row in rows] for place in range(len(shown))]
    widths = find_usual(shown, measured, width, len(GAP))
    patterns = {place: _find_pattern(place, shown, rows) for place in range(len(shown))}
    named = {place for place, pattern in patterns.items() if pattern == _NAME and shown[place].may_go}
    widths = [0 if place in named else most for place, most in enumerate(widths)]
    lower = sorted({*named, *find_lower(shown, widths, width, len(GAP))})
    for place in lower:
        if patterns[place]:
            console.print(Text(f"{shown[place].title}: {patterns[place]}, where no other is shown"), soft_wrap=True)
            _leave_out(place, patterns[place], shown, rows)
    heading = next((place for place in lower if shown[place].may_go and _is_in_groups(place, rows)), None)
    sheet = _Sheet(console, shown, rows, lower, heading)
    sheet.print_rows(widths, measured)


@dataclass
class _Sheet:
    """Rows to be printed, the titles first. What is `lower` stands below each row, a `heading` above several."""

    console: Console
    columns: Sequence[Column]
    rows: list[list[Cell]]
    lower: Sequence[int]
    heading: int | None

    def print_rows(self, widths: Sequence[int], measured: Sequence[Sequence[int]]) -> None:
        """Print all of them; of a cell that is far longer than most of its column, `measured` and `widths` tell."""
        upper = [place for place in range(len(self.columns)) if place not in self.lower]
        columns, tops = [self.columns[place] for place in upper], [[row[place] for place in upper] for row in self.rows]
        shared = _share_width(columns, tops, [widths[place] for place in upper], self.console.width)
        kept: list[list[Cell]] = []
        group = ""

        def flush() -> None:
            _print_drawn(self.console, columns, shared, kept)

        for number, (row, top) in enumerate(zip(self.rows, tops, strict=True)):
            if self.heading is not None and number and row[self.heading].text != group:
                group = row[self.heading].text
                flush()
                click.echo(f"{self.columns[self.heading].title}: {group}")
            fallen = [
                place
                for place, most in zip(upper, shared, strict=True)
                if measured[place][number] > widths[place]
                or (self.columns[place].wraps and _measure_word(row[place]) > most)
            ]
            for place in fallen:
                top[upper.index(place)] = Cell("")
                if self._is_name(place):
                    flush()
                    click.echo(paint(row[place].text, row[place].colour))
            kept.append(top)
            sunk = sorted([*self.lower, *(place for place in fallen if not self._is_name(place))])
            self._print_below([row[place].text for place in sunk if place != self.heading], flush)
        flush()

    def _is_name(self, place: int) -> bool:
        """Whether rows begin with it: where it is too long it stands above its row, not below."""
        return place == 0 and self.columns[place].is_key

    def _print_below(self, texts: Sequence[str], flush: Callable[[], None]) -> None:
        """Print what stands below a row, if there is anything, after the rows so far."""
        below = GAP.join(filter(None, texts))
        if below:
            from rich.text import Text

            flush()
            self.console.print(Text(fold(INDENT + below, self.console.width)), soft_wrap=True)


def _find_pattern(place: int, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> str:
    """Return what a column says in all but few rows, where it follows from what tells the rows apart; else ""."""
    key = next((at for at, column in enumerate(columns) if column.is_key), place)
    if key == place or len(rows) <= _MANY:
        return ""
    found = Counter(_make_pattern(row[place], row[key]) for row in rows[1:])
    pattern, count = found.most_common(1)[0]
    return pattern if _NAME in pattern and count * 10 >= 9 * (len(rows) - 1) else ""


def _make_pattern(cell: Cell, key: Cell) -> str:
    return cell.text.replace(key.text, _NAME, 1) if key.text and _NAME not in cell.text else cell.text


def _leave_out(place: int, pattern: str, columns: Sequence[Column], rows: list[list[Cell]]) -> None:
    """Make the cells that follow from the pattern empty, and the title: it is said with the pattern."""
    key = next(at for at, column in enumerate(columns) if column.is_key)
    rows[0][place] = Cell("")
    for row in rows[1:]:
        if _make_pattern(row[place], row[key]) == pattern:
            row[place] = Cell("")


def _is_in_groups(place: int, rows: Sequence[Sequence[Cell]]) -> bool:
    """Whether rows that say the same here follow each other, so that it can stand above them."""
    texts = [row[place].text for row in rows[1:]]
    changes = sum(one != other for one, other in pairwise(texts))
    return len(texts) > changes + 1 == len(set(texts))


def _find_gone(columns: Sequence[Column], cells: list[list[Cell]]) -> tuple[list[int], set[int]]:
    """The columns that say the same in every row, and with them all that tell nothing more than another column."""
    movable = [place for place, column in enumerate(columns) if column.may_go]
    same = [place for place in movable if _is_same(place, cells)]
    return same, {*same, *(place for place in movable if _repeats(place, columns, cells))}


def _print_drawn(console: Console, columns: Sequence[Column], widths: Sequence[int], rows: list[list[Cell]]) -> None:
    """Print the rows, which are then gone, without the blanks that fill up the last column: clipboards keep them."""
    if not rows:
        return
    with console.capture() as drawn:
        console.print(_draw(columns, widths, rows))
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))
    rows.clear()


def _measure_word(cell: Cell) -> int:
    return max(map(measure, cell.text.split()), default=0)


def _share_width(columns: Sequence[Column], rows: list[list[Cell]], widths: Sequence[int], width: int) -> list[int]:
    words = [choose_usual([_measure_word(row[place]) for row in rows]) for place in range(len(columns))]
    return share_width(columns, widths, words, width - len(GAP) * (len(columns) - 1))


def _draw(columns: Sequence[Column], widths: Sequence[int], rows: list[list[Cell]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), show_header=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(no_wrap=column.fixed, width=width)
    for row in rows:
        line = [
            Text(
                cell.text,
                style=cell.colour or "",
                no_wrap=not (column.wraps or column.is_key),
                overflow="fold" if column.is_key else "ellipsis",
            )
            for cell, column in zip(row, columns, strict=True)
        ]
        table.add_row(*line)
    return table


def _repeats(place: int, columns: Sequence[Column], cells: list[list[Cell]]) -> bool:
    """Whether a column says in every row what tells the rows apart."""
    keys = [other for other, column in enumerate(columns) if column.is_key and other != place]
    return any(all(row[place].text == row[key].text for row in cells) for key in keys)


def _is_same(place: int, cells: list[list[Cell]]) -> bool:
    return len(cells) > 1 and len({row[place].text for row in cells}) == 1
