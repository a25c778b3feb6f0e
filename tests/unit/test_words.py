"""Durations and moments as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.words import say_duration, say_moment


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=400), "0s"),
        (timedelta(milliseconds=-400), "0s"),
        (timedelta(seconds=12), "12s"),
        (timedelta(seconds=59.6), "1m"),
        (timedelta(minutes=45), "45m"),
        (timedelta(minutes=45, seconds=3), "45m 3s"),
        (timedelta(hours=24), "1d"),
        (timedelta(days=1, hours=6), "1d 6h"),
        (timedelta(days=1, hours=6, minutes=59, seconds=59), "1d 6h"),
        (timedelta(days=1, minutes=5), "1d"),
        (timedelta(hours=2, seconds=5), "2h"),
        (timedelta(days=365), "365d"),
        (timedelta(seconds=-90), "-1m 30s"),
        (timedelta(days=-30), "-30d"),
    ],
)
def test_duration_is_said_in_two_units_at_most(span: timedelta, words: str) -> None:
    assert say_duration(span) == words
    assert say_duration(span, units=1) == words.split()[0]


@settings(deadline=None, derandomize=True)
@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_duration_is_near_the_truth_when_read_back(span: timedelta) -> None:
    words = say_duration(span)
    assert re.fullmatch(r"-?\d+[dhms]( \d+[hms])?", words)
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    seconds = sum(int(part[:-1]) * units[part[-1]] for part in words.lstrip("-").split())
    exact = abs(span.total_seconds())
    assert seconds - 0.5 <= exact
    assert exact < seconds * 1.05 + 1
    assert words.startswith("-") == (round(span.total_seconds()) < 0)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2026, 12, 3, 9, 0, tzinfo=UTC), "2026-12-03 09:00Z"),
        (datetime(2026, 12, 3, 9, 0, 59, 999999, tzinfo=UTC), "2026-12-03 09:00Z"),
        (datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))), "2025-12-31 23:30Z"),
    ],
)
def test_moment_is_said_in_utc_to_the_minute(moment: datetime, words: str) -> None:
    assert say_moment(moment) == words
