"""How a run tells what it is doing while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One line per fact while a run works: an event name and its plain values. Goes to the log."""

    def __call__(self, event: str, /, **values: str | int | None) -> None:
        """Tell one fact."""
