"""How much time a PAT has left: how long it may be made to wait, and when it is near its expiry."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

FIRST_RETRY = timedelta(minutes=5)
LONGEST_RETRY = timedelta(hours=6)
"""How long a PAT waits after its first failure, and after many."""
SHORTEST_WAIT = timedelta(minutes=1)
"""A wait may be this long, however little time is left."""
_SHARE = 4
_LEAST_LAST_SPAN, _MOST_LAST_SPAN = timedelta(hours=6), timedelta(days=3)


def bound_wait(wanted: timedelta, left: timedelta) -> timedelta:
    """Return how long to wait: as `wanted`, but at most a quarter of the time that is `left` until the expiry.

    After the expiry (`left` is negative) it is at most a quarter of the time since. So there is always another try
    before the end, and a recovery is not noticed much later than it could have been.
    """
    return min(wanted, max(SHORTEST_WAIT, abs(left) / _SHARE))


@lru_cache(maxsize=1000)
def find_last_span(lifetime: timedelta) -> timedelta:
    """Return how long before its expiry a PAT is near it.

    The last tenth of its lifetime, at least six hours and at most three days, but never more than a third of it.
    """
    return min(max(lifetime / 10, _LEAST_LAST_SPAN), _MOST_LAST_SPAN, lifetime / 3)


def is_near_expiry(valid_from: datetime, valid_to: datetime, now: datetime) -> bool:
    """Whether a PAT of these dates is near its expiry, or over: what was learned from outside yields then."""
    return valid_to - now <= find_last_span(valid_to - valid_from)
