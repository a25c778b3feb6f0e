"""A table of the page: a caption, the columns' names, and rows of plain text whose first cell names the row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rotator.documents.audit import AuditEventDocument
from rotator.report.cells import NONE, say_details, say_words
from rotator.report.times import say_time


@dataclass(frozen=True)
class Table:
    """`total` is how many rows there would be if all were kept."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int

    @property
    def left_out(self) -> int:
        """How many older rows are not shown."""
        return self.total - len(self.rows)


def make_table(
    name: str, caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], total: int | None = None
) -> Table:
    """Make a table; `total` as in `Table`, by default the number of rows."""
    kept = tuple(rows)
    return Table(name, caption, columns, kept, len(kept) if total is None else total)


def make_events_table(name: str, caption: str, events: Iterable[AuditEventDocument], total: int) -> Table:
    """Make a table with one row for each event."""
    rows = (
        (
            str(event["sequence"]),
            say_time(event["occurred_at"]),
            say_words(event["event"]),
            event["subject"],
            event["actor"],
            say_details(event["details"]),
            str(event["details"].get("reason") or NONE),
        )
        for event in events
    )
    return make_table(name, caption, ("Event", "Time", "What", "About", "Who", "Details", "Reason"), rows, total)
