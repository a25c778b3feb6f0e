"""Durations and thresholds as people write them."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.settings.durations import LONGEST, parse_duration, parse_threshold, render_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(hours=36)),
        (" 1d 12h ", timedelta(hours=36)),
    ],
)
def test_duration_is_read_when_it_has_units(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (7, "7 has no unit: write 7d"),
        (1.5, "1.5 has no unit"),
        ("7", '"7" is not a duration'),
        ("7 days", '"7 days" is not a duration'),
        ("-7d", "is not a duration"),
        ("1d1d", "repeats a unit"),
        ("0s", "longer than zero"),
        ("90000d", "longer than a hundred years"),
        ("9" * 400 + "d", "longer than a hundred years"),
        ("", "is not a duration"),
        (None, "is not a duration"),
        (True, "is not a duration"),
        ([7], "is not a duration"),
    ],
)
def test_duration_is_refused_with_the_reason_when_it_says_none(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_duration(value)


def test_duration_may_be_zero_when_asked_for() -> None:
    assert parse_duration("0s", may_be_zero=True) == timedelta(0)


@given(st.integers(min_value=1, max_value=int(LONGEST.total_seconds())))
def test_duration_reads_back_the_same_when_rendered(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert parse_duration(render_duration(span)) == span


@pytest.mark.parametrize(("text", "share"), [("33%", 0.33), ("12.5 %", 0.125), ("0.1%", 0.001)])
def test_threshold_is_a_share_when_it_is_a_percentage(text: str, share: float) -> None:
    threshold = parse_threshold(text)
    assert threshold.share == pytest.approx(share)
    assert threshold.duration is None


def test_threshold_is_a_duration_when_it_has_a_unit() -> None:
    assert parse_threshold("7d").duration == timedelta(days=7)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0%", "above 0%"),
        ("100%", "below 100%"),
        ("-5%", "not a duration"),
        (33, "33 has no unit: write 33d for days or 33%"),
        ("soon", "or a share of the lifetime such as 33%"),
    ],
)
def test_threshold_is_refused_with_the_reason_when_it_is_neither(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_threshold(value)
