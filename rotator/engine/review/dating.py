"""When each event happened, by the order of the log: a clock can be wrong, and the order cannot."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

_TOLERANCE = timedelta(minutes=1)
"""How far the clocks of several hosts may differ: nothing is said of less."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = timedelta(microseconds=1)
_OFF = _TOLERANCE // _UNIT
_NO_STEPS: Mapping[int, timedelta] = MappingProxyType({})


class Placed(NamedTuple):
    """When an event happened that a wrong clock dated.

    `is_known`: the log says how wrong that clock was. If not, this is only what its place in the log allows.
    """

    at: datetime
    is_known: bool = False


class _Time(NamedTuple):
    """The time of an event: as its clock said, put right as far as the log says how, and of the next believed one."""

    number: int
    said: int
    righted: int
    upper: int
    later_step: int


def find_misdated(
    events: Iterable[tuple[int, datetime]], now: datetime, steps: Mapping[int, timedelta] = _NO_STEPS
) -> Mapping[int, Placed]:
    """Return the events, by number, that a wrong clock dated, with when they happened.

    `steps`: what is to be added to the time of an event, as the log says itself (`read_steps`). Of the times that these
    leave, the largest number that follow each other is believed. The clock that dated others is taken to be as wrong as
    that of an event beside them, if they fit between the believed ones then. If not, an event is as long after the one
    before it as their clock says, as far as that is possible.
    """
    numbers, said, lengths, ends = array("q"), array("q"), array("q"), list[int]()
    latest = _count(now + _TOLERANCE)
    for number, moment in events:
        time = _count(moment) + _read_step(steps, number)
        place = bisect_right(ends, time) if time <= latest else -1
        if place >= 0:
            ends[place : place + 1] = [time]
        numbers.append(number)
        said.append(_count(moment))
        lengths.append(place)
    righted = array("q", (time + _read_step(steps, number) for number, time in zip(numbers, said, strict=True)))
    uppers = _find_next_believed(righted, lengths, len(ends) - 1, latest)
    laters = _find_later_steps(numbers, righted, uppers, steps)
    return _place_misdated(map(_Time, numbers, said, righted, uppers, laters), steps)


def _count(moment: datetime) -> int:
    return (moment - _EPOCH) // _UNIT


def _read_step(steps: Mapping[int, timedelta], number: int) -> int:
    return steps[number] // _UNIT if number in steps else 0


def _find_next_believed(times: array[int], lengths: array[int], wanted: int, later: int) -> array[int]:
    """Return for each event the time of the next believed one; a believed event has its own."""
    uppers = array("q", times)
    for place in range(len(times) - 1, -1, -1):
        if lengths[place] == wanted and times[place] <= later:
            later, wanted = times[place], wanted - 1
        else:
            uppers[place] = later
    return uppers


def _find_later_steps(
    numbers: array[int], times: array[int], uppers: array[int], steps: Mapping[int, timedelta]
) -> array[int]:
    """Return for each event how wrong the clock was of the one that ends its row of those that are not believed."""
    found, step = array("q", times), 0
    for place in range(len(times) - 1, -1, -1):
        if numbers[place] in steps:
            step = _read_step(steps, numbers[place])
        elif times[place] == uppers[place]:
            step = 0
        found[place] = step
    return found


def _place_misdated(times: Iterable[_Time], steps: Mapping[int, timedelta]) -> dict[int, Placed]:
    found = dict[int, Placed]()
    before: int | None = None
    last: int | None = None
    step = 0
    for time in times:
        if time.righted == time.upper:  # it is believed
            before, last, step = time.righted, None, _read_step(steps, time.number)
            if abs(step) > _OFF:
                found[time.number] = _date(before, is_known=True)
        elif not _fits(time.righted, before, time.upper):
            choices = (time.said, *(time.said + each for each in (step, time.later_step) if each))
            fitting = [each for each in choices if _fits(each, before, time.upper)]
            if fitting:
                before = min(time.upper, max(fitting[0], fitting[0] if before is None else before))
            else:
                passed = 0 if last is None else max(0, time.righted - last)
                before, last = min(time.upper, (time.upper if before is None else before) + passed), time.righted
            if not fitting or fitting[0] != time.said:
                found[time.number] = _date(fitting[0] if fitting else before, is_known=bool(fitting))
    return found


def _fits(time: int, before: int | None, upper: int) -> bool:
    return time <= upper + _OFF and (before is None or time >= before - _OFF)


def _date(time: int, *, is_known: bool) -> Placed:
    return Placed(_EPOCH + time * _UNIT, is_known)
