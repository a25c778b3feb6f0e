"""Periods as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rotator.domain.period import make_default_period, read_period


def _say(moment: datetime) -> str:
    return moment.isoformat().removesuffix("+00:00").removesuffix("T00:00:00")


@pytest.mark.parametrize(
    ("text", "since", "until", "name"),
    [
        ("2026", "2026-01-01", "2027-01-01", "2026"),
        ("2026-Q1", "2026-01-01", "2026-04-01", "2026-Q1"),
        ("2026-Q4", "2026-10-01", "2027-01-01", "2026-Q4"),
        ("2026-02", "2026-02-01", "2026-03-01", "2026-02"),
        ("2026-12", "2026-12-01", "2027-01-01", "2026-12"),
        ("2026-10-01..2026-12-24", "2026-10-01", "2026-12-25", "2026-10-01_2026-12-24"),
        (
            "2026-10-01T09:00+02:00..2026-10-02T00:00",
            "2026-10-01T07:00:00",
            "2026-10-02",
            "2026-10-01T09000200_2026-10-02T0000",
        ),
    ],
)
def test_period_is_read(text: str, since: str, until: str, name: str) -> None:
    period = read_period(text)
    assert (_say(period.since), _say(period.until), period.name) == (since, until, name)
    assert period.since in period
    assert period.until not in period


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "2026-Q0",
        "2026-Q5",
        "2026-q1",
        "2026-00",
        "2026-13",
        "2026-1",
        "0000",
        "9999",
        "9999-12",
        "2026-10-01",
        "..",
        "2026-10-01..",
        "..2026-10-01",
        "2026-10-02..2026-10-01",
        "2026-10-01..9999-12-31",
        "a..b",
        "last week",
        "0001-01-01T00:00+14:00..2026-10-01",
        "2026-10-01..9999-12-31T23:00-14:00",
        "\uff12\uff10\uff12\uff16",  # full-width digits
    ],
)
def test_period_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no period|is no day|ends before|too far ahead"):
        read_period(text)


def test_default_period_ends_with_now() -> None:
    now = datetime(2026, 12, 3, 9, 30, tzinfo=UTC)
    period = make_default_period(now)
    assert now in period
    assert (_say(period.since), period.name) == ("2026-09-04", "2026-09-04_2026-12-03")


@pytest.mark.parametrize("end", ["20261201", "2026-W49-2", "2026-12-01"])
def test_day_as_an_end_belongs_to_the_period_however_it_is_spelled(end: str) -> None:
    assert read_period(f"20260101..{end}").until == datetime(2026, 12, 2, tzinfo=UTC)
