"""Times of day, moments and time zones as people write them: `22:00`, `2026-12-19T00:00+01:00`, `Europe/Berlin`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from rotator.domain.words import say_did_you_mean

HOUR_PATTERN = r"^([01]\d|2[0-3]):[0-5]\d$"
FIRST_YEAR, LAST_YEAR = 2000, 2200
"""Between these years is every moment that a setting may name."""
END_PATTERN = rf"{HOUR_PATTERN}|^24:00$"


def parse_hour(value: object, *, is_end: bool = False) -> time:
    """A time of day; as an end it may be `24:00`, midnight. ValueError, with the right way to write it."""
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not re.match(END_PATTERN if is_end else HOUR_PATTERN, value):
        raise ValueError(f'"{value}" is not a time of day: write hours and minutes, such as 08:30 or 22:00')
    return time() if value == "24:00" else time.fromisoformat(value)


def parse_moment(value: object) -> datetime:
    """A moment, in UTC. ValueError when it is none, or does not say in which time zone."""
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f'"{value}" is not a moment: write date, time and offset, as 2026-12-19T00:00+01:00') from None
    if moment.tzinfo is None:
        raise ValueError(f'"{value}" does not say in which time zone: add its offset, as 2026-12-19T00:00+01:00, or Z')
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError(f'"{value}" is not between the years {FIRST_YEAR} and {LAST_YEAR}')
    return moment.astimezone(UTC)


def parse_zone(value: object) -> tzinfo:
    """A time zone, by its IANA name. ValueError when there is none of that name."""
    if isinstance(value, tzinfo):
        return value
    names = available_timezones()
    if not isinstance(value, str) or value not in names:
        hint = say_did_you_mean(str(value), names) or ": use an IANA name such as Europe/Berlin or UTC"
        raise ValueError(f'unknown time zone "{value}"{hint}')
    return ZoneInfo(value)
