"""How long to wait before another try."""

from __future__ import annotations

from datetime import datetime, timedelta


def make_backoff(failures: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """`first` after one failure, doubled with each further one, never above `longest`.

    `failures` counts from 1; 0 means there is nothing to wait for.
    """
    if failures <= 0:
        return timedelta(0)
    return min(longest, first * (1 << min(failures - 1, 20)))


def is_kept_from(retry_at: datetime | None, now: datetime, *, longest: timedelta) -> bool:
    """Whether a stored time says to wait now.

    One further ahead than `longest` does not count: a clock that was wrong has written it.
    """
    return retry_at is not None and now < retry_at <= now + longest
