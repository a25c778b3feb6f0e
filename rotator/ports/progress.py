"""How events are reported as they happen."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.events.event import Event


class Progress(Protocol):
    """Writes one line to the log for each event, as it happens."""

    def __call__(self, event: Event, subject: str, /) -> None:
        """Tell of an event; `subject` is the one thing, of the event's kind, that it happened to."""
