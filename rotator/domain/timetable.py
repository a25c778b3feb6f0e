"""A timetable: when a rule lets runs mint and revoke, by windows that open again and again, and by change freezes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC) - 366 * _DAY
"""A freeze that ends later never ends: no window is looked for behind it."""
_LONGEST_GAP = 15
"""In days: a window of one day a week opens within these, although a week may lack its hour of that day."""


class HeldBackBy(StrEnum):
    """What keeps a run from a mint or a revocation for now."""

    OUTSIDE_WINDOWS = "outside_windows"
    CHANGE_FREEZE = "change_freeze"
    ALL_PAUSED = "all_paused"


@dataclass(frozen=True)
class HeldBack:
    """What keeps a run from minting and revoking, until when (None: until a person ends it), and why."""

    by: HeldBackBy
    until: datetime | None
    reason: str = ""


@dataclass(frozen=True)
class Window:
    """Hours of a day of the week, by the clocks on the wall of a time zone; `days` count from Monday, 0.

    It is open whenever those clocks show a time within it: an hour that they skip does not open it, one that they show
    twice opens it twice. One that ends no later than it begins ends on the next day.
    """

    days: tuple[int, ...]
    begins: time
    ends: time
    zone: tzinfo

    def is_open(self, now: datetime) -> bool:
        """Return whether it is open."""
        wall = now.astimezone(self.zone).replace(tzinfo=None)
        hours = (self._find_hours(day) for day in (wall.date() - _DAY, wall.date()))
        return any(begins <= wall < ends for begins, ends in hours if begins.weekday() in self.days)

    def find_opening(self, now: datetime) -> datetime:
        """Return the first moment, now or later, at which it is open."""
        today = now.astimezone(self.zone).date()
        days = (today + number * _DAY for number in range(-1, _LONGEST_GAP))
        spans = (span for day in days if day.weekday() in self.days for span in self._list_spans(day))
        openings = (max(now, begins) for begins, ends in spans if ends > now)
        first = next(openings)
        return min(first, next(openings, first))  # at midnight the clocks may bring the end of the day before once more

    def _find_hours(self, day: date) -> tuple[datetime, datetime]:
        """Return when it begins and ends that began on a day, as the clocks on the wall show it."""
        last = day if self.ends > self.begins else day + _DAY
        return datetime.combine(day, self.begins), datetime.combine(last, self.ends)

    def _list_spans(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        """Yield from when until when it is open that began on a day: in pieces where the clocks are changed."""
        begins, ends = self._find_hours(day)
        first = min(self._find_moments(begins))
        last = max(self._find_moments(ends))
        change = self._find_change(first, last)
        for low, high in [(first, last)] if change is None else [(first, change), (change, last)]:
            offset = _find_offset(low, self.zone)
            span = max(low, _at_offset(begins, offset)), min(high, _at_offset(ends, offset))
            if span[0] < span[1]:
                yield span

    def _find_moments(self, wall: datetime) -> tuple[datetime, datetime]:
        """Return the moments at which the clocks show a time: two where they show it twice, or skip it."""
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return first, second

    def _find_change(self, low: datetime, high: datetime) -> datetime | None:
        """Return when the clocks are changed between these moments; None when they are not."""
        before = _find_offset(low, self.zone)
        if before == _find_offset(high, self.zone):
            return None
        while high - low > _SECOND:
            middle = low + (high - low) / 2
            if _find_offset(middle, self.zone) == before:
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)


def _find_offset(moment: datetime, zone: tzinfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _at_offset(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC)


@dataclass(frozen=True)
class ChangeFreeze:
    """A span in which nothing is to be changed, and why."""

    begins: datetime
    ends: datetime
    reason: str


@dataclass(frozen=True)
class Timetable:
    """When runs may mint and revoke: in the windows, at any time without them, and never in a change freeze."""

    windows: tuple[Window, ...] = ()
    freezes: tuple[ChangeFreeze, ...] = ()

    @property
    def is_always(self) -> bool:
        """Whether it holds nothing back, ever."""
        return not (self.windows or self.freezes)

    def find_held_back(self, now: datetime) -> HeldBack | None:
        """Return what keeps a run from minting and revoking; None when nothing does."""
        freeze = self.find_freeze(now)
        if freeze is not None:
            return HeldBack(HeldBackBy.CHANGE_FREEZE, self.find_opening(now), freeze.reason)
        if self._is_in_window(now):
            return None
        return HeldBack(HeldBackBy.OUTSIDE_WINDOWS, self.find_opening(now))

    def find_freeze(self, now: datetime) -> ChangeFreeze | None:
        """Return the change freeze that is on."""
        return next((freeze for freeze in self.freezes if freeze.begins <= now < freeze.ends), None)

    def find_opening(self, now: datetime) -> datetime:
        """Return the first moment, now or later, at which a run may mint and revoke."""
        moment = now
        while moment < _END_OF_TIME:
            freeze = self.find_freeze(moment)
            if freeze is not None:
                moment = freeze.ends
            elif self._is_in_window(moment):
                return moment
            else:
                moment = min(window.find_opening(moment) for window in self.windows)
        return moment

    def _is_in_window(self, now: datetime) -> bool:
        return not self.windows or any(window.is_open(now) for window in self.windows)


ALWAYS = Timetable()
"""The timetable of a rule that has none: nothing is held back."""
