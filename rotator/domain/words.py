"""Durations, moments and did-you-mean in words that people read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SPANS = ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min"), (1, "s", "s"))


def say_duration(span: timedelta, units: int = 2) -> str:
    """Return at most so many units: `30d`, `1d 6h`, `45m`, `12s`; a minus sign in front of negative spans."""
    seconds = round(span.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    parts = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
        if len(parts) == units or (parts and not count):
            break
    return sign + (" ".join(parts) or "0s")


def say_in(moment: datetime, now: datetime) -> str:
    """How far away it is, in one unit: `in 5 days`, `3 h ago`, `now`."""
    seconds = round((moment - now).total_seconds())
    for size, one, many in _SPANS:
        count = abs(seconds) // size
        if count and (count > 1 or size != 86400 or abs(seconds) >= 2 * size):
            words = f"{count} {one if count == 1 else many}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "now"


def say_count(number: int, one: str) -> str:
    """Return `1 event`, `2 events`."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def say_did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean "x"?` for the nearest known word, or nothing when none is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f', did you mean "{by_folded[near[0]]}"?' if near else ""


def say_moment(moment: datetime) -> str:
    """Return the moment in UTC, to the minute: `2026-12-03 09:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
