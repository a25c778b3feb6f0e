"""When each event happened, by the order of the log: a clock can be wrong, and the order cannot."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

_TOLERANCE = timedelta(minutes=1)
"""How far the clocks of several hosts may differ: nothing is said of less."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = timedelta(microseconds=1)


def find_misdated(events: Iterable[tuple[int, datetime]], now: datetime) -> Mapping[int, datetime]:
    """Return the events, by number, whose time contradicts the log, with the time that their place in it allows.

    The largest number of events whose times follow each other is believed. Between them, an event is as long after the
    one before it as their clock says, if that is possible.
    """
    numbers, times, lengths, ends = array("q"), array("q"), array("q"), list[int]()
    latest = _count(now + _TOLERANCE)
    for number, moment in events:
        time = _count(moment)
        place = bisect_right(ends, time) if time <= latest else -1
        if place >= 0:
            ends[place : place + 1] = [time]
        numbers.append(number)
        times.append(time)
        lengths.append(place)
    uppers = _find_next_believed(times, lengths, len(ends) - 1, latest)
    return _place_misdated(numbers, times, uppers)


def _count(moment: datetime) -> int:
    return (moment - _EPOCH) // _UNIT


def _find_next_believed(times: array[int], lengths: array[int], wanted: int, later: int) -> array[int]:
    """Return for each event the time of the next believed one; a believed event has its own."""
    uppers = array("q", times)
    for place in range(len(times) - 1, -1, -1):
        if lengths[place] == wanted and times[place] <= later:
            later, wanted = times[place], wanted - 1
        else:
            uppers[place] = later
    return uppers


def _place_misdated(numbers: array[int], times: array[int], uppers: array[int]) -> dict[int, datetime]:
    found, off = dict[int, datetime](), _TOLERANCE // _UNIT
    before: int | None = None
    said: int | None = None
    for number, time, upper in zip(numbers, times, uppers, strict=True):
        if time == upper:  # it is believed
            before, said = time, None
        elif time > upper + off or (before is not None and time < before - off):
            step = 0 if said is None else max(0, time - said)
            before, said = min(upper, (upper if before is None else before) + step), time
            found[number] = _EPOCH + before * _UNIT
    return found
