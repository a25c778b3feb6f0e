"""Kills or freezes the engine between any two bytecodes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import rotator.domain
import rotator.engine

if TYPE_CHECKING:
    from _typeshed import TraceFunction

_DOMAIN = str(Path(rotator.domain.__path__[0]))
_PACKAGES = tuple(str(Path(package.__path__[0])) for package in (rotator.engine, rotator.domain))
_OUTSIDE = str(Path(__file__).parents[1])


class Crash(BaseException):
    """The process died here. Not an Exception: nothing in the product may catch it."""


class Life:
    """One simulated process: whether it is alive, and how many bytecodes of our code it has executed.

    `action` is called before the bytecode numbered `at`, the first being 1; it may raise Crash, or block. Counting
    makes a life many times slower: nothing is counted when `at` is None, nor after the action. `is_person`: it does a
    person's command. `began_at` and `overlap` are when it began, and the overlap of its policy. While it sends its
    first request after it was frozen, `decided_at` tells when it fell asleep: nothing that it knows is newer.
    `turns` are the first and the last bytecode between any two calls of what it lives in. What outlives it changes only
    in such calls, so deaths between two of them leave the same behind.
    """

    def __init__(self, at: int | None = None, action: Callable[[], None] | None = None) -> None:
        self.dead = False
        self.executed = 0
        self.turns: list[int] = []
        self._has_called = False
        self.is_person = False
        self.began_at: datetime | None = None
        self.overlap = timedelta(0)
        self.decided_at: datetime | None = None
        self._asleep_since: datetime | None = None
        self._at, self._has_acted = at, False
        self._action = action or self.die

    def die(self) -> None:
        """End this process: everything that it tries afterwards raises Crash too."""
        self.dead = True
        raise Crash

    def check(self) -> None:
        """Raise Crash if this process is dead: a dead process sends and writes nothing. Called at each request."""
        if self.dead:
            raise Crash
        self.decided_at, self._asleep_since = self._asleep_since, None

    def fall_asleep(self, at: datetime) -> None:
        """It is frozen from now on."""
        self._asleep_since = at

    @contextmanager
    def lived(self) -> Iterator[None]:
        """Count the bytecodes of what runs inside, and act at the ordered one."""
        if self._at is None:
            yield
            return
        previous = sys.gettrace()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(previous)
            threading.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: object) -> TraceFunction | None:
        caller = frame.f_back
        self._has_called |= frame.f_code.co_filename.startswith(_OUTSIDE)
        if self._has_acted or not frame.f_code.co_filename.startswith(_PACKAGES):
            return None
        if frame.f_code.co_filename.startswith(_DOMAIN) and not (
            caller and caller.f_code.co_filename.startswith(_PACKAGES)
        ):
            return None  # the fakes use the domain under their locks: a freeze there would stop the whole world
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._trace_opcodes

    def _trace_opcodes(self, frame: FrameType, event: str, arg: object) -> TraceFunction:
        if event == "opcode" and not self.dead:
            self.executed += 1
            if self._has_called:
                self._has_called = False
                self.turns += [self.executed - 1, self.executed]
            if self.executed == self._at:
                self._has_acted = True
                sys.settrace(None)
                self._action()
        return self._trace_opcodes
