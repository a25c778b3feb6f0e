"""Windows, change freezes and pauses of everything in a history, and whether runs kept to them.

Whether it is open is reckoned here once more, with nothing of the product: by the log that the product wrote.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rotator.domain.audit_event import AuditEvent
from rotator.domain.rotation import Rotation
from rotator.domain.timetable import ChangeFreeze, Timetable, Window

SHARE = 0.2
"""In how many histories runs have to keep to a calendar."""
LONGEST_WORK = timedelta(minutes=15)
"""So long after a run found it open it may still begin what it decided: reading and patience take their time."""
TRIES = timedelta(hours=6)
"""So long before an overlap no longer fits before an expiry a run need not wait for a window."""
LONG_OVERLAPS = (timedelta(hours=30), timedelta(hours=40))
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")


@dataclass(frozen=True)
class Hours:
    """Some hours of some days of the week, 0 for Monday, by the clocks of a zone; perhaps beyond midnight."""

    days: tuple[int, ...]
    begins: int
    length: int
    zone: str

    def cover(self, moment: datetime) -> bool:
        """Whether that moment is within them."""
        wall = moment.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        starts = (datetime.combine(wall.date(), time(self.begins)) - back * _DAY for back in (0, 1))
        return any(start.weekday() in self.days and start <= wall < start + self.length * _HOUR for start in starts)

    def make_window(self) -> Window:
        """The same, as a rule says it."""
        ends = time((self.begins + self.length) % 24)
        return Window(self.days, time(self.begins), ends, ZoneInfo(self.zone))


class ShownJournal(Protocol):
    """What is asked about a rotation that the log tells of."""

    def load_rotations(self) -> list[Rotation]:
        """Every rotation of the journal."""

    def show_dates(self, authorization_id: str) -> tuple[datetime, datetime]:
        """From when until when a PAT is valid."""


@dataclass
class Calendar:
    """When runs may mint and revoke. `chance` draws what people do with it; `persons` are the ids of their runs."""

    hours: tuple[Hours, ...]
    freezes: tuple[tuple[datetime, datetime], ...]
    chance: random.Random
    pauses: int = 0
    persons: set[str] = field(default_factory=set)
    overlaps: list[tuple[datetime, timedelta]] = field(default_factory=list)
    """Since when the rule has which overlap."""

    def draw_overlap(self, otherwise: timedelta, stretch: int) -> timedelta:
        """The overlap of the rule at first: in a third of these histories longer than a day, for slow readers."""
        return stretch * self.chance.choice(LONG_OVERLAPS) if self.chance.random() < 1 / 3 else otherwise

    def is_open(self, moment: datetime) -> bool:
        """Whether a run may begin to mint or to revoke."""
        is_frozen = any(begins <= moment < ends for begins, ends in self.freezes)
        return not is_frozen and (not self.hours or any(hours.cover(moment) for hours in self.hours))

    def make_timetable(self) -> Timetable:
        """The same, as a rule says it."""
        freezes = tuple(ChangeFreeze(begins, ends, "end of the year") for begins, ends in self.freezes)
        return Timetable(tuple(hours.make_window() for hours in self.hours), freezes)

    def judge(self, log: Iterable[AuditEvent], world: ShownJournal) -> list[str]:
        """I11: no run begins to mint or to revoke while all is paused, nor while it is closed and there is time.

        What a person wants of a PAT, by whatever name it goes since, waits for no window. Nor does what was begun, and
        is requested once more (`code`).
        """
        breaks, is_paused, asked = [], False, set[str]()
        rotations = {rotation.id: rotation for rotation in world.load_rotations()}
        for event in log:
            entry, details = event.entry, event.entry.details
            is_paused = entry.event == "all_paused" or (is_paused and entry.event != "all_resumed")
            if entry.event in ("update_started", "move_started"):
                asked.add(entry.subject)
            elif entry.event == "pat_renamed" and details["old_name"] in asked:
                asked.add(str(details["new_name"]))
            is_begun = entry.event == "mint_started" or (
                entry.event == "revoke_started" and details["why"] == "rotated" and not details.get("code")
            )
            if not is_begun or entry.run_id in self.persons:
                continue
            rotation = rotations.get(str(details.get("rotation_id")))
            if rotation is None:
                continue  # a revocation that is requested once more
            # By a host whose clock was set wrong in the middle: it was planned by the right one.
            moment = max(event.occurred_at, rotation.created_at)
            if is_paused:
                breaks.append(f"I11: {entry.event} of {entry.subject} while everything was paused")
            elif entry.subject not in asked and not self._may_begin(entry.event, rotation, moment, world):
                breaks.append(f"I11: {entry.event} of {entry.subject} at {event.occurred_at}, when it was closed")
        return breaks

    def _may_begin(self, event: str, rotation: Rotation, moment: datetime, world: ShownJournal) -> bool:
        looks = (moment - LONGEST_WORK + n * _MINUTE for n in range(int(LONGEST_WORK / _MINUTE) + 2))
        is_mint = event == "mint_started"
        current = rotation.predecessor_id if is_mint else rotation.new_authorization_id
        if not current or (not is_mint and not rotation.overlap) or any(self.is_open(look) for look in looks):
            return True
        valid_from, valid_to = world.show_dates(current)
        life = valid_to - valid_from
        near = min(max(life / 10, 6 * _HOUR), 3 * _DAY, life / 3)
        overlap = rotation.overlap if is_mint else self._find_overlap(moment)
        return valid_to - moment <= max(near, min(life / 2, overlap + TRIES)) + _MINUTE

    def _find_overlap(self, moment: datetime) -> timedelta:
        """The longest overlap that the rule had while a run could decide what it did at that moment."""
        before = [overlap for at, overlap in self.overlaps if at < moment - LONGEST_WORK]
        return max((*before[-1:], *(overlap for at, overlap in self.overlaps if moment - LONGEST_WORK <= at <= moment)))


def draw(seed: int, now: datetime) -> Calendar | None:
    """The calendar of a history, in a fifth of them: windows, freezes, both or none; people may pause everything."""
    chance = random.Random(f"calendar {seed}")
    if chance.random() >= SHARE:
        return None
    hours = tuple(_draw_hours(chance) for _ in range(chance.choice((0, 1, 1, 2))))
    freezes = tuple(_draw_freeze(chance, now) for _ in range(chance.choice((0, 0, 1))))
    return Calendar(hours, freezes, chance)


def _draw_hours(chance: random.Random) -> Hours:
    days = tuple(sorted(chance.sample(range(7), chance.choice((1, 2, 5, 7)))))
    return Hours(days, chance.randrange(24), chance.randint(4, 10), chance.choice(_ZONES))


def _draw_freeze(chance: random.Random, now: datetime) -> tuple[datetime, datetime]:
    begins = now + chance.randint(-48, 72) * _HOUR
    return begins, begins + chance.randint(6, 14 * 24) * _HOUR
