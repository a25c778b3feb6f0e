"""How the columns of a table share the width of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LEAST = 12
"""What is left of a column that gives way."""
_ONE_IN = 10
"""One row in so many may be too long for a column."""


class Column(NamedTuple):
    """A column of a table, and how it gives way on a terminal that is too narrow for a row.

    One that `may_go` is left out where it says the same in every row, or what tells the rows apart, and one that is
    `lower` stands below its row, where nothing of it is lost; so does a single cell of it that is far longer than
    most. If that is not enough, a name is cut, and ends in `…`; prose (`wraps`) goes on in the next line, between
    words. What tells the rows apart (`is_key`) gives way last, and goes on in the next line too, so that nothing of it
    is lost; where few are too long, each of them has a line to itself: above its row in the first column, else below.
    What is `fixed` never gives way.
    """

    title: str
    fixed: bool = False
    wraps: bool = False
    may_go: bool = False
    is_key: bool = False
    lower: bool = False


def find_usual(columns: Sequence[Column], widths: Sequence[Sequence[int]], available: int, gap: int) -> Sequence[int]:
    """Return the width of each column, given those of its cells, the title first: that of the longest, as a rule.

    Where no row then fits, few long cells do not widen the column that tells the rows apart, nor one that may stand
    below them: they have a line to themselves.
    """
    longest = [max(column) for column in widths]
    usual = [
        choose_usual(column) if about.lower or about.is_key else max(column)
        for about, column in zip(columns, widths, strict=True)
    ]
    return usual if sum(longest) + gap * (len(longest) - 1) > available else longest


def choose_usual(lengths: Sequence[int]) -> int:
    """Return a length that all but few do not exceed, nor the first one: the title's."""
    return max(lengths[0], sorted(lengths)[len(lengths) - 1 - len(lengths) // _ONE_IN])


def find_lower(columns: Sequence[Column], widths: Sequence[int], available: int, gap: int) -> list[int]:
    """Return the places of the columns that stand below their row: the last first, until the others fit."""
    upper = list(range(len(columns)))
    movable = [place for place in upper if columns[place].lower]
    lower: list[int] = []
    while movable and sum(widths[place] + gap for place in upper) - gap > available:
        lower.insert(0, movable.pop())
        upper.remove(lower[0])
    return lower


def share_width(columns: Sequence[Column], widths: Sequence[int], words: Sequence[int], available: int) -> list[int]:
    """Return a width for each column that together fit, if that can be: the widest gives way first.

    `widths` are what each column would take, `words` its longest word.
    """
    shared = list(widths)
    for is_key in (False, True):
        least = {
            place: min(widths[place], max(words[place], _LEAST) if column.wraps else _LEAST)
            for place, column in enumerate(columns)
            if column.is_key is is_key and not column.fixed
        }
        while sum(shared) > available:
            place = max(least, key=lambda place: shared[place] - least[place], default=None)
            if place is None or shared[place] <= least[place]:
                break
            shared[place] -= 1
    return shared
