"""How long a PAT may be made to wait, by the time that it has left."""

from __future__ import annotations

from datetime import timedelta

FIRST_RETRY = timedelta(minutes=5)
LONGEST_RETRY = timedelta(hours=6)
"""How long a PAT waits after its first failure, and after many."""
SHORTEST_WAIT = timedelta(minutes=1)
"""A wait may be this long, however little time is left."""
_SHARE = 4


def bound_wait(wanted: timedelta, left: timedelta) -> timedelta:
    """Return how long to wait: as `wanted`, but at most a quarter of the time that is `left` until the expiry.

    After the expiry (`left` is negative) it is at most a quarter of the time since. So there is always another try
    before the end, and a recovery is not noticed much later than it could have been.
    """
    return min(wanted, max(SHORTEST_WAIT, abs(left) / _SHARE))
