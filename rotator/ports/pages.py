"""What the daemon serves to whoever asks over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One answer. It has been made before anybody asks: nobody waits for it, and nobody's haste costs anything."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    """What it is sent with beside the headers that every answer has."""


FindPage = Callable[[str], Page | None]
"""Return the page at a path; None where there is none. It neither waits nor raises."""
