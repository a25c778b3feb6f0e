"""The clocks of the services, as the `Date` of their answers tells them, behind the port Witnesses."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from rotator.adapters.http_dates import read_http_date
from rotator.domain.clocks import BootMoment
from rotator.ports.clock import BootClock

HEARD_WITHIN = timedelta(minutes=15)
_HALF_SECOND = timedelta(milliseconds=500)


class NoteDate(Protocol):
    """Takes the `Date` of an answer."""

    def __call__(self, date: str, /) -> None:
        """Note it. A date that cannot be read is passed over: that service is no witness."""


class ServiceClocks:
    """Port Witnesses: what each service said last, and when by the boot clock. Thread-safe."""

    def __init__(self, boot: BootClock) -> None:
        self._boot = boot
        self._heard: dict[str, tuple[datetime, BootMoment]] = {}
        self._lock = threading.Lock()

    def make_listener(self, service: str) -> NoteDate:
        """Return what takes the dates of one service's answers."""
        return partial(self._note, service)

    def read_witnesses(self) -> Mapping[str, datetime]:
        """See the port."""
        now = self._boot.read_boot()
        with self._lock:
            heard = dict(self._heard)
        passed = {name: (said, now.since(at)) for name, (said, at) in heard.items()}
        return {
            name: said + _HALF_SECOND + span
            for name, (said, span) in passed.items()
            if span is not None and span <= HEARD_WITHIN
        }

    def forget(self, services: Collection[str]) -> None:
        """See the port."""
        with self._lock:
            for service in services:
                self._heard.pop(service, None)

    def _note(self, service: str, date: str, /) -> None:
        said = read_http_date(date)
        if said is not None:
            with self._lock:
                self._heard[service] = said, self._boot.read_boot()
