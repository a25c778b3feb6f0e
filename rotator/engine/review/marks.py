"""When something happened, and how long it lasted: by the events that prove it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.condition import ConditionKind


@dataclass(frozen=True)
class Mark:
    """An event that proves something: its number and when it happened, as it says itself.

    `placed`: when that was, if its clock was wrong. `is_guessed`: that is only near, as nothing says how wrong it was.
    """

    sequence: int
    at: datetime
    placed: datetime | None = None
    is_guessed: bool = False

    @property
    def happened_at(self) -> datetime:
        """When it happened, whatever its clock said."""
        return self.placed or self.at

    def measure(self, ended: Mark | None, now: datetime) -> timedelta | None:
        """Return how long it was from here to the end, or to now without one. None: the log cannot tell."""
        if self.is_guessed or (ended is not None and ended.is_guessed):
            return None
        return max(timedelta(0), (ended.happened_at if ended else now) - self.happened_at)


@dataclass
class Misdated:
    """Events one after the other that a wrong clock dated: the first and last, and how many of them."""

    first: Mark
    last: Mark
    count: int = 1

    @property
    def step(self) -> timedelta | None:
        """How far the clock was ahead; below 0: behind. None: the log does not say."""
        return None if self.first.is_guessed else self.first.at - self.first.happened_at

    def goes_on(self, mark: Mark) -> bool:
        """Whether the same clock may have dated the next event."""
        is_next = mark.sequence == self.last.sequence + 1 and mark.is_guessed == self.last.is_guessed
        return is_next and (mark.is_guessed or mark.at - mark.happened_at == self.step)


@dataclass(frozen=True)
class Span:
    """Something wrong that lasted: the events that began and ended it. `ended` is None while it lasts.

    `pat` is the managed PAT that the subject belongs to, if that is an id.
    """

    kind: ConditionKind
    subject: str
    code: str | None
    begun: Mark
    ended: Mark | None = None
    pat: str | None = None

    def measure(self, now: datetime) -> timedelta | None:
        """Return how long it lasted, or has lasted by now. None: the log cannot tell."""
        return self.begun.measure(self.ended, now)


@dataclass
class SpanSum:
    """All times that something of one kind and cause was wrong: how many, how long in all, and the longest of them.

    `unmeasured`: how many of them lasted for a time that the log cannot tell.
    """

    kind: ConditionKind
    code: str | None
    first: Mark
    last: Mark
    longest: Mark
    count: int = 0
    total: timedelta = timedelta(0)
    most: timedelta = timedelta(-1)
    unmeasured: int = 0


@dataclass
class Tally:
    """How often something happened, and the first and the last time."""

    first: Mark
    last: Mark
    count: int = 0

    def add(self, mark: Mark) -> None:
        """Count one more."""
        self.count, self.last = self.count + 1, mark
