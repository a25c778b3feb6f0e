"""How long claims still bind, as one process sees it: by its own boot clock, which no step of another clock moves.

What is stored is dated by the database's clock. A process turns that into its own time when it first sees it, and only
if the database's clock ran as its own did since it looked last; else it counts the whole span from that sight on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Sights = Mapping[str, "tuple[Bond, timedelta]"]
"""What was seen to bind, by a key, and until when by the boot clock if nothing else is seen."""

_SLACK = 1 / 12
"""For this part of a span the database's clock may run ahead or behind. A daemon stops when a quarter of it is left."""


@dataclass(frozen=True)
class Bond:
    """What binds for a span, from a moment of the database's clock on, and never for more than `longest`.

    `needs_sight`: it is not over before this process itself has seen it unchanged for the span, or saw when it was
    written; else what it finds at its first look is taken as it is dated.
    """

    since: datetime
    span: timedelta
    longest: timedelta
    needs_sight: bool


class Watch:
    """What one process saw of one table, between its transactions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[Bond, timedelta]] = {}
        self._last: tuple[datetime, timedelta] | None = None

    def look(
        self,
        bonds: Mapping[str, Bond],
        now: datetime,
        asked: timedelta | None,
        elapsed: timedelta | None,
        *,
        is_all: bool = True,
    ) -> dict[str, timedelta]:
        """Return how long each still binds, by a look at all that there are or at some.

        `now` is the database's clock. `asked` and `elapsed` are the boot clock, before they were read from the database
        and after all that. What is new binds from the later one on, and what is over was over at the earlier one: a
        process that stood still in between has not seen what others wrote meanwhile. Without a boot clock the
        database's is all.
        """
        if asked is None or elapsed is None:
            return {key: bond.since + bond.span - now for key, bond in bonds.items()}
        with self._lock:
            seen = {key: self._see(key, bond, now, elapsed) for key, bond in bonds.items()}
            self._seen = seen if is_all else {**self._seen, **seen}
            if is_all:
                self._last = now, elapsed
        return {key: ends_at - asked for key, (_, ends_at) in seen.items()}

    def inherit(self, load: Callable[[], Sights]) -> None:
        """Begin with what an earlier process of this boot saw, where this one has not looked yet."""
        with self._lock:
            if self._last is None and not self._seen:
                self._seen = dict(load())

    def find_late(self, keys: Collection[str], now: datetime) -> Sights:
        """Return what, of these, should have been renewed half its span ago, as it is dated, and was seen as it is."""
        with self._lock:
            found = {key: seen for key, seen in self._seen.items() if key in keys}
        return {key: seen for key, seen in found.items() if seen[0].since + seen[0].span / 2 < now}

    def _see(self, key: str, bond: Bond, now: datetime, elapsed: timedelta) -> tuple[Bond, timedelta]:
        known = self._seen.get(key)
        if known is not None and known[0] == bond:
            return known
        left = bond.since + bond.span - now
        if left > bond.longest and self._last is None and not bond.needs_sight:
            left = timedelta(0)  # a wrong clock wrote that: for those who only look once it would bind for years
        elif left > bond.longest or not self._may_trust(bond, now, elapsed):
            left = bond.span
        return bond, elapsed + left

    def _may_trust(self, bond: Bond, now: datetime, elapsed: timedelta) -> bool:
        """Whether the database's clock made no step between the last look and this one, and this was written then."""
        if self._last is None:
            return not bond.needs_sight
        then, at = self._last
        slack = bond.span * _SLACK
        is_steady = abs((now - then) - (elapsed - at)) <= slack
        return is_steady and (bond.since >= then - slack or not bond.needs_sight)


class ClaimsWatch:
    """What one process saw of heartbeats and of claims. It outlives the connections to the database."""

    def __init__(self) -> None:
        self.beats, self.claims = Watch(), Watch()
