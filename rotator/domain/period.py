"""A period of a review: a year, a quarter, a month, or from one day or moment to another, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DEFAULT_SPAN = timedelta(days=90)
"""How far a review looks back if nobody says."""
_CALENDAR = re.compile(r"([0-9]{4})(?:-(?:Q([1-4])|(0[1-9]|1[0-2])))?")


@dataclass(frozen=True)
class Period:
    """`since` is the first moment that belongs to it, `until` the first that does not. `name` suits a file's name."""

    name: str
    since: datetime
    until: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


def make_default_period(now: datetime) -> Period:
    """Return the last 90 days, up to now and with it."""
    until = now.astimezone(UTC) + timedelta(microseconds=1)
    since = (until - DEFAULT_SPAN).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(f"{since:%Y-%m-%d}_{until:%Y-%m-%d}", since, until)


def read_period(text: str) -> Period:
    """Read YYYY, YYYY-Qn, YYYY-MM, or FROM..TO. ValueError, in words, for any other text.

    FROM and TO are days or moments; a day as TO belongs to the period, a moment does not.
    """
    if ".." in text:
        return _read_range(text)
    found = _CALENDAR.fullmatch(text)
    if found is None or found[1] in ("0000", "9999"):
        raise ValueError(f'"{text}" is no period')
    year, quarter, month = int(found[1]), found[2], found[3]
    first, months = (3 * int(quarter) - 2, 3) if quarter else (int(month), 1) if month else (1, 12)
    last = first + months
    until = datetime(year + last // 13, (last - 1) % 12 + 1, 1, tzinfo=UTC)
    return Period(text, datetime(year, first, 1, tzinfo=UTC), until)


def _read_range(text: str) -> Period:
    begin, _, end = text.partition("..")
    since, until = _read_moment(begin), _read_moment(end)
    try:
        until += timedelta(days=1) if _is_day(end) else timedelta(0)
    except OverflowError:
        raise ValueError(f'"{end}" is too far ahead') from None
    if until <= since:
        raise ValueError(f'"{text}" ends before it begins')
    return Period(re.sub(r"[^0-9T-]", "", begin) + "_" + re.sub(r"[^0-9T-]", "", end), since, until)


def _is_day(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _read_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is no day or UTC time') from None
