"""`guardrails.max_rotations_per_hour`: how many mints may still begin, and who goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from rotator.domain.policy import Guardrails
from rotator.errors import PostponedError
from rotator.ports.database import Reading, UnitOfWork

_WINDOW = timedelta(hours=1)
_CLOCKS_DIFFER = timedelta(minutes=1)


def count_places(reading: Reading, guardrails: Guardrails, now: datetime) -> int:
    """Count the mints that may still begin now, by the journal of the last hour. Rotations by hand count too.

    A mint that was dated further ahead than hosts' clocks may differ does not count.
    """
    return max(0, guardrails.max_rotations_per_hour - reading.journal.count_mints(*_find_hour(now)))


def check_pace(guardrails: Guardrails, now: datetime, work: UnitOfWork) -> None:
    """Raise PostponedError when no place is left. Otherwise nobody else takes this place until the transaction ends."""
    if work.journal.lock_mints(*_find_hour(now)) >= guardrails.max_rotations_per_hour:
        raise PostponedError(
            f"{guardrails.max_rotations_per_hour} rotations have started within the last hour",
            fix="Nothing to do: a later run rotates it. Raise guardrails.max_rotations_per_hour if this lasts.",
        )


def _find_hour(now: datetime) -> tuple[datetime, datetime]:
    return now - _WINDOW, now + _CLOCKS_DIFFER


class Turns:
    """The order in which one run's threads take the places that are left: the most urgent ManagedPat first.

    `names` are in that order, and are worked on in that order. The journal has the last word (`check_pace`), because
    other processes take places too. Who waits renews its claim every `pulse` seconds.
    """

    def __init__(self, names: list[str], places: int, pulse: float = 60.0) -> None:
        self._undecided = list(names)
        self._places = places
        self._pulse = pulse
        self._changed = threading.Condition()

    def take(self, name: str, renew: Callable[[], None] = lambda: None) -> bool:
        """Take a place; False when there is none. Waits while a more urgent one may still need the last ones.

        `renew` is called again and again meanwhile; what it raises ends the wait.
        """
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_decided(name), timeout=self._pulse):
                    is_free = self._places > 0
                    self._places -= is_free
                    self.leave(name)
                    return is_free
            renew()

    def _is_decided(self, name: str) -> bool:
        return self._undecided.index(name) < self._places or self._places == 0

    def leave(self, name: str) -> None:
        """Let the others know that this one needs no place any more."""
        with self._changed:
            if name in self._undecided:
                self._undecided.remove(name)
                self._changed.notify_all()
