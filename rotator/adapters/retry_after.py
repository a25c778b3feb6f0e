"""Reads how long an answer asks to wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from rotator.adapters.http_dates import read_http_date
from rotator.domain.throttle import LONGEST_HOLD


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait; a date is reckoned by the answer's own `Date`."""
    now = read_http_date(headers.get("Date", ""))
    return parse_retry_after(headers.get("Retry-After"), now or datetime.max.replace(tzinfo=UTC))


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` in either form (seconds, HTTP date), never negative or above an hour.

    None if it is unreadable.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        moment = read_http_date(text)
        if moment is None:
            return None
        seconds = (moment - now).total_seconds()
    return min(max(0.0, seconds), LONGEST_HOLD.total_seconds()) if math.isfinite(seconds) else None
