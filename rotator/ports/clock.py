"""Time as the engine sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from rotator.domain.clocks import BootMoment


class Clock(Protocol):
    """Time as the engine sees it; tests advance it. Waiting belongs to `ports.stop`."""

    def now(self) -> datetime:
        """Return the current moment, aware, UTC."""


class BootClock(Protocol):
    """What measures spans: nobody sets it, and it runs on while the host is suspended."""

    def read_boot(self) -> BootMoment:
        """Return the current moment of this boot."""


class Witnesses(Protocol):
    """The clocks of the services, as their latest answers tell them."""

    def read_witnesses(self) -> Mapping[str, datetime]:
        """Return what time it is now, by each service that was heard in the last 15 minutes."""

    def forget(self, services: Collection[str]) -> None:
        """Forget what these services said last: they are witnesses again when they have answered again."""
