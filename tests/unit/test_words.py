"""Durations and moments as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.words import say_ago, say_duration, say_in, say_moment, say_span


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


@pytest.mark.parametrize(
    ("span", "words", "short"),
    [
        (timedelta(0), "0 s", "0s"),
        (timedelta(seconds=9), "9 s", "9s"),
        (timedelta(seconds=119), "119 s", "119s"),
        (timedelta(seconds=119.6), "2 min", "2m"),
        (timedelta(minutes=5), "5 min", "5m"),
        (timedelta(minutes=119, seconds=30), "2 h", "2h"),
        (timedelta(hours=47, minutes=29), "47 h", "47h"),
        (timedelta(hours=47, minutes=30), "2 days", "2d"),
        (timedelta(days=2, hours=12), "3 days", "3d"),
        (timedelta(days=2, hours=23, minutes=59), "3 days", "3d"),
        (timedelta(days=27, hours=23), "28 days", "28d"),
        (timedelta(days=-3), "3 days", "3d"),
    ],
)
def test_span_is_rounded_to_one_unit_in_both_forms(span: timedelta, words: str, short: str) -> None:
    now = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)
    assert say_span(span) == words
    assert say_span(span, short=True) == short
    if span > timedelta(0):
        assert say_in(now + span, now) == f"in {words}"
        assert say_ago(now - span, now) == f"{words} ago"
    assert say_ago(now + abs(span), now) == "just now"


@settings(deadline=None, derandomize=True)
@given(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)))
def test_span_is_off_by_a_quarter_at_most(span: timedelta) -> None:
    count, unit = say_span(span).split()
    seconds = int(count) * {"days": 86400, "h": 3600, "min": 60, "s": 1}[unit]
    assert abs(seconds - abs(span.total_seconds())) <= max(0.5, 0.26 * abs(span.total_seconds()))
    assert unit == "s" or int(count) > 1


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
