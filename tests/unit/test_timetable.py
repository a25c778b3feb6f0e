"""When a timetable lets runs mint and revoke: against a look at every minute, in ten time zones."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.domain.timetable import ALWAYS, ChangeFreeze, HeldBack, HeldBackBy, Timetable, Window

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "America/Havana",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Kiritimati",
)
"""With clocks that are changed by two hours, one and a half, at midnight, in opposite seasons, and never."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
ALL_DAYS = tuple(range(7))


@cache
def list_changes(zone: str) -> tuple[datetime, ...]:
    """Every hour of three years in which the clocks of a zone are changed."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    hours = [first + number * HOUR for number in range(3 * 365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return tuple(hours[i] for i in range(1, len(hours)) if offsets[i] != offsets[i - 1])


def shows_open(window: Window, moment: datetime) -> bool:
    """What somebody says who looks at the clock on the wall, at the weekday and at the window's hours."""
    wall = moment.astimezone(window.zone)
    shown, begins, ends = (wall.hour, wall.minute), window.begins, window.ends
    is_late, is_early = shown >= (begins.hour, begins.minute), shown < (ends.hour, ends.minute)
    today, yesterday = wall.weekday() in window.days, (wall.weekday() - 1) % 7 in window.days
    if begins < ends:
        return today and is_late and is_early
    return (today and is_late) or (yesterday and is_early)


def is_open(timetable: Timetable, moment: datetime) -> bool:
    """The same of a whole timetable."""
    if any(freeze.begins <= moment < freeze.ends for freeze in timetable.freezes):
        return False
    return not timetable.windows or any(shows_open(window, moment) for window in timetable.windows)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Timetable, datetime]:
    """A timetable of one zone and a moment, as a rule near a change of its clocks."""
    name = draw(st.sampled_from(ZONES))
    around = draw(st.sampled_from(list_changes(name) or (datetime(2026, 11, 27, 9, 0, tzinfo=UTC),)))
    moment = around + draw(st.integers(-3 * 24 * 60, 60)) * MINUTE
    hours = st.builds(time, st.integers(0, 23), st.integers(0, 59))
    at_night = st.builds(time, st.integers(0, 4), st.sampled_from((0, 15, 30, 59)))
    windows = []
    for _ in range(draw(st.integers(0, 2))):
        begins, ends = draw(at_night | hours), draw(at_night | hours)
        if begins != ends:
            days = tuple(draw(st.sets(st.sampled_from(ALL_DAYS), min_size=1)))
            windows.append(Window(days, begins, ends, ZoneInfo(name)))
    freezes = []
    for _ in range(draw(st.integers(0, 2))):
        begins_at = moment + draw(st.integers(-24 * 60, 24 * 60)) * MINUTE
        ends_at = begins_at + draw(st.integers(1, 2 * 24 * 60)) * MINUTE
        freezes.append(ChangeFreeze(begins_at, ends_at, "a reason"))
    return Timetable(tuple(windows), tuple(freezes)), moment


@given(cases())
@settings(max_examples=300, deadline=None)
@example((Timetable((Window((6,), time(2, 15), time(2, 45), BERLIN),)), datetime(2027, 3, 28, 0, 0, tzinfo=UTC)))
@example((Timetable((Window((6,), time(1, 30), time(2, 30), BERLIN),)), datetime(2026, 10, 25, 0, 35, tzinfo=UTC)))
@example(
    (
        Timetable((Window(ALL_DAYS, time(0, 30), time(0, 15), ZoneInfo("America/Havana")),)),
        datetime(2026, 11, 1, 4, 29, tzinfo=UTC),
    )
)
def test_timetable_opens_when_the_first_minute_does_that_the_clocks_on_the_wall_show(
    case: tuple[Timetable, datetime],
) -> None:
    timetable, now = case
    held = timetable.find_held_back(now)
    assert (held is None) is is_open(timetable, now)
    opening = timetable.find_opening(now)
    minutes = (now + number * MINUTE for number in range(20 * 24 * 60))
    assert opening == next(minute for minute in minutes if is_open(timetable, minute))
    if held is not None:
        assert held.until == opening


def make_window(days: tuple[int, ...], begins: str, ends: str) -> Window:
    """A window by the clocks of Berlin."""
    return Window(days, time.fromisoformat(begins), time.fromisoformat(ends), BERLIN)


@pytest.mark.parametrize(
    ("window", "now", "opening"),
    [
        (make_window((5,), "22:00", "04:00"), "2026-11-27T12:00", "2026-11-28T21:00"),
        (make_window((5,), "22:00", "04:00"), "2026-11-29T02:59", "2026-11-29T02:59"),
        (make_window((5,), "22:00", "04:00"), "2026-11-29T03:00", "2026-12-05T21:00"),
        (make_window((6,), "02:15", "02:45"), "2027-03-27T12:00", "2027-04-04T00:15"),  # 02:15 is skipped on March 28
        (make_window((6,), "02:15", "03:45"), "2027-03-27T12:00", "2027-03-28T01:00"),  # its rest is not
        (make_window((6,), "02:15", "02:45"), "2026-10-25T00:45", "2026-10-25T01:15"),  # 02:15 comes twice
        (make_window(ALL_DAYS, "00:00", "00:00"), "2026-10-25T00:45", "2026-10-25T00:45"),
    ],
)
def test_window_opens_by_the_clock_on_the_wall(window: Window, now: str, opening: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert window.find_opening(moment) == datetime.fromisoformat(opening).replace(tzinfo=UTC)
    assert window.is_open(moment) is (now == opening)


def test_change_freeze_closes_an_open_window_and_says_why() -> None:
    now = datetime(2026, 12, 24, 12, 0, tzinfo=UTC)
    freeze = ChangeFreeze(now - DAY, now + DAY, "end of the year")
    window = make_window((now.weekday(),), "08:00", "18:00")
    assert Timetable((window,)).find_held_back(now) is None
    next_week = now.replace(hour=7) + 7 * DAY
    assert Timetable((window,), (freeze,)).find_held_back(now) == HeldBack(
        HeldBackBy.CHANGE_FREEZE, next_week, "end of the year"
    )
    assert Timetable((), (freeze,)).find_opening(now) == now + DAY
    assert ALWAYS.find_held_back(now) is None
