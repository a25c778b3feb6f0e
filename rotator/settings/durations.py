"""Durations and thresholds as people write them: `90s`, `30m`, `12h`, `7d`, `2w`, `1d12h`, and `33%`."""

from __future__ import annotations

import re
from datetime import timedelta

from rotator.domain.threshold import Threshold

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+[wdhms]\s*)+")
_PART = re.compile(r"(\d+)([wdhms])")
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_EXPECTED = "write a number with a unit, such as 90s, 30m, 12h, 7d, 2w or 1d12h"
LONGEST = timedelta(days=36500)


def parse_duration(value: object, *, may_be_zero: bool = False) -> timedelta:
    """Parse a setting's value as a duration. ValueError, with the right way to write it, when it is not one."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {value}d for days, {value}h for hours or {value}m for minutes")
    if not isinstance(value, str) or not _DURATION.fullmatch(value.strip()):
        raise ValueError(f"{_say(value)} is not a duration: {_EXPECTED}")
    parts: list[tuple[str, str]] = _PART.findall(value)
    units = [unit for _, unit in parts]
    if len(set(units)) != len(units):
        raise ValueError(f"{_say(value)} repeats a unit: {_EXPECTED}")
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{_say(value)} is longer than a hundred years")
    if seconds == 0 and not may_be_zero:
        raise ValueError(f"{_say(value)} must be longer than zero")
    return timedelta(seconds=seconds)


def parse_threshold(value: object) -> Threshold:
    """A share of the lifetime (`33%`) or a duration (`7d`). ValueError when it is neither."""
    if isinstance(value, Threshold):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {value}d for days or {value}% for a share of the lifetime")
    found = _PERCENTAGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        try:
            return Threshold(duration=parse_duration(value))
        except ValueError as error:
            raise ValueError(f"{error}; or a share of the lifetime such as 33%") from None
    percentage = float(found.group(1))
    if not 0 < percentage < 100:
        raise ValueError(f"{_say(value)} must be above 0% and below 100%")
    return Threshold(share=percentage / 100)


def render_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same duration, whole seconds assumed: `1d12h`."""
    seconds = int(span.total_seconds())
    text = ""
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def _say(value: object) -> str:
    """The value in quotes if it is a plain one; what is nested is shown by the source line anyway."""
    return f'"{value}"' if isinstance(value, str | int | float) else "this"
