"""A stop at any one moment of a run, and a watch over everything that is begun after it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NoReturn

from rotator.adapters.stop import ProcessStop
from rotator.ports.claims import Claim, Claims
from rotator.ports.database import UnitOfWork
from tests.support.engine import EngineWorld
from tests.support.engine_fakes import CallT, CallTape

ENDINGS = frozenset({"overlapping", "abandoning", "abandoned", "failed", "mint_unanswered", "mint_answer_doubted"})
"""The marks of the commits after which a value that was only in memory is stored and read back, or given up."""


class StopWatch:
    """Counts the moments of a run: the calls to services, the transactions and the waits. Safe for threads.

    In the middle of moment `at` the stop is set. From then on each moment is `broken`, except in a thread that holds
    a value that exists only in memory: from its mint to the commit that follows its read-back or gives it up.
    """

    def __init__(self, world: EngineWorld, at: int | None = None) -> None:
        self.moments: list[str] = []
        self.broken: list[str] = []
        self._at = at
        self._world = world
        self._holding: set[int] = set()
        start = world.clock.now()
        self.stop = world.stop = ProcessStop(
            seconds=lambda: (world.clock.now() - start).total_seconds(), pause=self._pause
        )
        world.pats.calls = WatchedTape(world.timeline, self)
        world.secrets.calls = WatchedTape(world.timeline, self)
        world.sign_in.calls = WatchedTape(world.timeline, self)
        world.database.watcher = self

    @property
    def is_holding(self) -> bool:
        """Whether this thread holds a value that exists only in memory."""
        return threading.get_ident() in self._holding

    def meet(self, moment: str) -> None:
        """Something begins."""
        if self.stop.is_set and not self.is_holding:
            self.broken.append(moment)
        if moment == "mint":
            self._holding.add(threading.get_ident())
        self.moments.append(moment)
        if len(self.moments) == self._at:
            self.stop.set()

    def meet_transaction(self, work: UnitOfWork) -> None:
        """A transaction begins; after the stop it may only give a claim back."""
        if self.stop.is_set and not self.is_holding:
            inner = work.claims
            for port in ("inventory", "journal", "audit", "limits", "conditions"):
                setattr(work, port, Forbidden(self, port))
            work.claims = ReleaseOnly(self, inner)
        else:
            self.meet("transaction")

    def meet_commit(self, marks: Iterable[str]) -> None:
        """A transaction was committed."""
        if ENDINGS & set(marks):
            self._holding.discard(threading.get_ident())

    def leave(self) -> None:
        """Watch no more: the next process starts."""
        world = self._world
        world.pats.calls = CallTape(world.timeline)
        world.secrets.calls = CallTape(world.timeline)
        world.sign_in.calls = []
        world.database.watcher = None

    def _pause(self, event: threading.Event, seconds: float) -> bool:
        self._world.clock.sleep(seconds / 2)
        self.meet("wait")
        if event.is_set():
            return True
        self._world.clock.sleep(seconds / 2)
        return event.is_set()


class WatchedTape(CallTape[CallT]):
    """A tape whose calls are moments."""

    def __init__(self, timeline: list[str], watch: StopWatch) -> None:
        super().__init__(timeline)
        self._watch = watch

    def append(self, call: CallT) -> None:
        """Note one call."""
        super().append(call)
        self._watch.meet(str(call[0]) if isinstance(call, tuple) else "refresh")


class Forbidden:
    """A part of a transaction that nothing may use any more."""

    def __init__(self, watch: StopWatch, name: str) -> None:
        self._watch, self._name = watch, name

    def __getattr__(self, operation: str) -> NoReturn:
        self._watch.broken.append(f"{self._name}.{operation}")
        raise AssertionError(f"{self._name}.{operation} after the stop")


class ReleaseOnly(Forbidden):
    """The claims of a transaction that may only give them back."""

    def __init__(self, watch: StopWatch, inner: Claims) -> None:
        super().__init__(watch, "claims")
        self._inner = inner

    def release(self, claim: Claim) -> None:
        """See the port."""
        self._inner.release(claim)
