"""What a daemon says of itself with each heartbeat, and how long its claims bind by that."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event as Flag

from rotator.domain.events.event import Event
from rotator.domain.job_run import BEATS_WITHIN, Heartbeat
from rotator.ports.claims import Claim
from rotator.ports.clock import BootClock

_HEARD = 3 / 4
"""For this part of the span that others let pass a heartbeat counts for the daemon itself: it stops before they begin.

Between two heartbeats half of that span passes.
"""


@dataclass(frozen=True)
class _Heard:
    """Heartbeats without a gap that was too long: the number of such a row of them, and until when the last counts.

    That is a span since the boot.
    """

    row: int = 0
    until: timedelta = timedelta(0)


class Pulse:
    """What a daemon says of itself with each heartbeat. Work notes here when it began and when it last succeeded.

    Its claims bind for others for `binds_for` after the last heartbeat that was committed: two heartbeats. So it sends
    nothing under a claim unless its heartbeats have been committed without a gap since the claim was last renewed. None
    where nobody on another host can take over: then the lease alone counts.
    """

    def __init__(
        self, holder: str, began_at: datetime, binds_for: timedelta | None = None, version: str | None = None
    ) -> None:
        self.holder, self.began_at, self.binds_for, self.version = holder, began_at, binds_for, version
        self.told: Mapping[str, str] = {}
        """The digests of the policy and the settings that this daemon told last."""
        self.differs_since: timedelta | None = None
        """Since when, by the boot clock, this daemon sees others work with other versions or policies."""
        self._beating = threading.Lock()
        self._heard = _Heard()
        self.work_began_at: datetime | None = None
        self.work_succeeded_at: datetime | None = None
        self._asked = Flag()
        self._has_begun = False
        self._dead: list[str] = []
        self._noted: deque[Event] = deque()
        self._seen: dict[str, tuple[datetime, timedelta]] = {}
        self.silence: timedelta | None = None
        """For how long this daemon wrote no heartbeat, so that its claims were over; None: that is told, or was not."""
        self._last: tuple[timedelta, timedelta] | None = None
        """When the last heartbeat was committed, and for how long claims bind by it: a reload may change that."""
        self._giving, self._left = threading.Lock(), list[Claim]()
        self._at_work = list[str]()

    def describe(self, now: datetime, actor: str, policy: str) -> Heartbeat:
        """Return the heartbeat of that moment, by the database's clock."""
        return Heartbeat(
            self.holder,
            self.began_at,
            now,
            self.work_began_at,
            self.work_succeeded_at,
            self.binds_for,
            actor,
            self.version,
            policy,
        )

    def beat(self, boot: BootClock, commit: Callable[[], None], *, only_late: bool = False) -> None:
        """Have `commit` write a heartbeat and commit it; with `only_late` unless the last one still counts.

        One thread at a time does it, and no transaction is open in the thread that calls this. Measured from before
        the transaction to after its end: others cannot have seen less.
        """
        with self._beating:
            began, before = boot.read_boot().elapsed, self._heard
            if only_late and began < before.until:
                return
            if self._last is not None and began - self._last[0] >= self._last[1]:
                self.silence = began - self._last[0]
            until = self._find_until(began)
            self._heard = _Heard(before.row, min(before.until, until))  # others may see it before we know of it
            binds_for = self.binds_for
            commit()
            until = min(until, self._find_until(began))  # a reload may have shortened the span meanwhile
            self._last = None if binds_for is None else (began, binds_for)
            is_in_time = boot.read_boot().elapsed < self._heard.until
            self._heard = _Heard(before.row if is_in_time else before.row + 1, until)

    def _find_until(self, began: timedelta) -> timedelta:
        return began if self.binds_for is None else began + self.binds_for * _HEARD

    def find_row(self, boot: BootClock) -> int | None:
        """Return the row of heartbeats that goes on now, as `is_heard` wants it; None if the last one is late."""
        heard = self._heard
        return heard.row if self._counts(heard, boot) else None

    def is_heard(self, row: int | None, boot: BootClock) -> bool:
        """Whether that row of heartbeats still goes on."""
        heard = self._heard
        return self.binds_for is None or (heard.row == row and self._counts(heard, boot))

    def _counts(self, heard: _Heard, boot: BootClock) -> bool:
        return self.binds_for is None or boot.read_boot().elapsed < heard.until

    def find_silent(self, beats: Iterable[Heartbeat], elapsed: timedelta) -> frozenset[str]:
        """Return the holders whose heartbeats this daemon itself has seen to stay as they are for too long to live.

        By its boot clock: a step of the database's clock makes all of them look old at once.
        """
        before, self._seen = self._seen, {}
        for beat in beats:
            at, since = before.get(beat.holder, (None, elapsed))
            self._seen[beat.holder] = beat.beat_at, since if at == beat.beat_at else elapsed
        return frozenset(holder for holder, (_, since) in self._seen.items() if elapsed - since >= BEATS_WITHIN)

    def has_changed(self, beat: Heartbeat, elapsed: timedelta, span: timedelta) -> bool:
        """Whether this daemon saw a heartbeat for the first time, or saw it change, within that span by its boot clock.

        By what `find_silent` looked at last.
        """
        known = self._seen.get(beat.holder)
        return known is not None and elapsed - known[1] <= span

    def note(self, event: Event) -> None:
        """Have the next heartbeat write an event of the daemon into the audit log; the log has it already."""
        self._noted.append(event)

    def take_noted(self) -> list[Event]:
        """Return the events that are to be written; whoever cannot write them gives them back with `note`."""
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def leave(self, claim: Claim) -> None:
        """Note a claim whose work is over, and that could not be given back: it would bind until the lease is over."""
        self._left.append(claim)

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """In the `with` block a thread works on that ManagedPat: from before its claim until that was given back.

        What ends the process, and is no Exception, ends no work: then others go by its heartbeats.
        """
        self._at_work.append(name)
        try:
            yield
        except Exception:
            self._at_work.remove(name)
            raise
        self._at_work.remove(name)

    def leave_others(self, claims: Iterable[Claim]) -> None:
        """Note those of these claims of ours as left that no thread has: a failover lost that they were given back."""
        for claim in claims:
            if claim.name not in self._at_work:
                self.leave(claim)

    @contextmanager
    def giving_back(self) -> Iterator[tuple[Claim, ...]]:
        """Have the claims that were left given back in the `with` block; they stay left when that raises.

        One thread at a time does it, and nobody claims again what it gives back.
        """
        with self._giving:
            left = tuple(self._left)
            yield left
            del self._left[: len(left)]

    @property
    def has_left(self) -> bool:
        """Whether there is a claim that was left."""
        return bool(self._left)

    def note_death(self, thread: str) -> None:
        """Note that a thread died: the next heartbeat writes it into the audit log. Any thread may call it."""
        self._dead.append(thread)

    def ask(self) -> None:
        """Note that a person wants work to be done now, whatever waits after a failure. Any thread may call it."""
        self._asked.set()

    @property
    def dead(self) -> list[str]:
        """The threads that died, and that the audit log does not name yet."""
        return self._dead

    @property
    def has_begun(self) -> bool:
        """Whether the database knows that this daemon began."""
        return self._has_begun

    def note_written(self, deaths: int) -> None:
        """Note that a heartbeat was written, with so many threads that died."""
        self._has_begun, self.silence = True, None
        del self._dead[:deaths]

    @property
    def is_asked(self) -> bool:
        """Whether a person wanted it, and it was not done since."""
        return self._asked.is_set()

    @contextmanager
    def answered(self) -> Iterator[None]:
        """What a person wants is done in the `with` block; it stays wanted when that raises, or when they ask again."""
        self._asked.clear()
        is_done = False
        try:
            yield
            is_done = True
        finally:
            if not is_done:
                self._asked.set()
