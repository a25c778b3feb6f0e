"""How long to wait before another try."""

from __future__ import annotations

from datetime import timedelta


def make_backoff(failures: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """`first` after one failure, doubled with each further one, never above `longest`.

    `failures` counts from 1; 0 means there is nothing to wait for.
    """
    if failures <= 0:
        return timedelta(0)
    return min(longest, first * (1 << min(failures - 1, 20)))
