"""How a run tells what it is doing while it works."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.events.event import Event


class Progress(Protocol):
    """One line per event while a run works. Goes to the log."""

    def __call__(self, event: Event, subject: str, /) -> None:
        """Tell what happened to a subject of the kind that the event is about."""
