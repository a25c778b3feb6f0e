"""A stop at any one moment of a run, and a watch over everything that is begun after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NoReturn, TypedDict, Unpack

from rotator.adapters.stop import ProcessStop
from rotator.errors import StoppedError
from rotator.ports.claims import Claim, Claims
from rotator.ports.database import UnitOfWork
from tests.support.engine import EngineWorld
from tests.support.engine_fakes import CallT, CallTape

ENDINGS = frozenset({"overlapping", "abandoning", "abandoned", "failed", "mint_unanswered", "mint_answer_doubted"})
"""The marks of the commits after which a value that was only in memory is stored and read back, or given up."""


class Replaced(TypedDict):
    """What a test replaces of the real stop."""

    seconds: Callable[[], float]
    pause: Callable[[threading.Event, float], bool]


class StopWatch:
    """Counts the moments of a run: the calls to services, the transactions and the waits. Safe for threads.

    In the middle of moment `at` the stop is set. From then on each moment is `broken`, except in a thread that holds
    a value that exists only in memory: from its mint to the commit that follows its read-back or gives it up. Another
    thread may have looked at the stop right before it was set: the one call that it makes then is not broken.
    """

    def __init__(self, world: EngineWorld, at: int | None = None) -> None:
        self.moments: list[str] = []
        self.broken: list[str] = []
        self._at = at
        self._world = world
        self._holding: set[int] = set()
        self._admitted: set[int] = set()
        start = world.clock.now()
        self.stop = world.stop = WatchedStop(
            self, seconds=lambda: (world.clock.now() - start).total_seconds(), pause=self._pause
        )
        world.pats.calls = WatchedTape(world.timeline, self)
        world.secrets.calls = WatchedTape(world.timeline, self)
        world.sign_in.calls = WatchedTape(world.timeline, self)
        world.database.watcher = self

    @property
    def is_holding(self) -> bool:
        """Whether this thread holds a value that exists only in memory."""
        return threading.get_ident() in self._holding

    def admit(self) -> None:
        """This thread looked at the stop, and it was not set: the next moment may begin, whatever others do."""
        self._admitted.add(threading.get_ident())

    def dismiss(self) -> bool:
        """Whether the next moment might begin; it needs another look at the stop now."""
        was_admitted = threading.get_ident() in self._admitted
        self._admitted.discard(threading.get_ident())
        return was_admitted

    def meet(self, moment: str) -> None:
        """Something begins."""
        was_admitted = self.dismiss()
        if self.stop.is_set and not self.is_holding and not was_admitted:
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
        self.dismiss()
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


class WatchedStop(ProcessStop):
    """The real stop, which tells the watch who looked at it before it was set."""

    def __init__(self, watch: StopWatch, **replaced: Unpack[Replaced]) -> None:
        super().__init__(**replaced)
        self._watch = watch

    def check(self) -> None:
        """See the port."""
        if not self.is_set:
            self._watch.admit()
        try:
            super().check()
        except StoppedError:
            self._watch.dismiss()
            raise


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

    def release(self, claim: Claim) -> bool:
        """See the port."""
        return self._inner.release(claim)
