"""One problem in a file, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Location = tuple[str | int, ...]
"""Where a value stands in a document: keys and, in lists, indexes from 0."""


@dataclass(frozen=True)
class Place:
    """A position in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """What is wrong and where. `location` is empty when the whole document is meant."""

    place: Place
    location: Location
    message: str

    @property
    def sort_key(self) -> tuple[int, int, str]:
        """Top to bottom, left to right."""
        return (self.place.line, self.place.column, self.message)


def render_location(location: Location) -> str:
    """`rules[2].match.scope`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def render_problem(problem: Problem, *, file: str, line: str) -> str:
    """The problem in one line, then the source line (masked by the caller) and a caret under the column."""
    where = f"{file}:{problem.place.line}:{problem.place.column}"
    named = f"{render_location(problem.location)}: " if problem.location else ""
    # Tabs are kept in front of the caret, so that it stands right whatever a terminal makes of them.
    indent = "".join("\t" if character == "\t" else " " for character in line[: problem.place.column - 1])
    shown = f"{where} {named}{problem.message}", line, f"{indent.ljust(problem.place.column - 1)}^"
    return "\n".join(map(_make_printable, shown))


def _make_printable(text: str) -> str:
    """The text without what would control a terminal or break the line."""
    return "".join(each if each.isprintable() or each == "\t" else "\ufffd" for each in text)


def show_path(path: Path) -> str:
    """The path in its shortest correct form: relative when it lies below the working directory."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
