"""Times, in the words of the page."""

from __future__ import annotations

from datetime import datetime


def say_time(moment: str) -> str:
    """Write a time of a document as the page does, to the second, in UTC."""
    return datetime.fromisoformat(moment).replace(tzinfo=None).isoformat(" ", "seconds")
