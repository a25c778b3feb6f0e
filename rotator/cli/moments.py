"""Times that a person names on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from rotator.errors import UsageError


def parse_moment(option: str, text: str, now: datetime) -> datetime:
    """Return the time that an option names: a span before now, or a UTC time. UsageError for any other text."""
    from rotator.settings.durations import parse_duration

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - parse_duration(text)
        except ValueError:
            fix = "Write a time span such as 2d or 12h, or a UTC time: 2026-12-01 or 2026-12-01T09:00Z."
            raise UsageError(f'{option}: "{text}" is neither a time nor a time span', fix=fix) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
