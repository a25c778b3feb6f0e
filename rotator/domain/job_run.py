"""Jobs: what is done again and again, one run of one, and the heartbeat of the process that does them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.managed_pat import Failure, check_aware

LONGEST_HEARTBEAT = timedelta(minutes=1)
"""The longest pause between two heartbeats that the settings allow."""

BEATS_WITHIN = 2 * LONGEST_HEARTBEAT
"""For so long a daemon lives after its last heartbeat, at least."""

KEPT_FOR = timedelta(days=30)
"""How long it is remembered what ran when. The newest success of a job is kept for longer."""


class JobName(StrEnum):
    """What is done again and again. `rotator once` does `reconcile` and `work` in one, and others after that."""

    WORK = auto()
    REFRESH = auto()
    RECONCILE = auto()
    PROBE = auto()
    VERIFY_AUDIT = auto()
    AUDIT_RECONCILE = auto()
    HEARTBEAT = auto()
    DELIVER = auto()
    HOOKS = auto()


class JobOutcome(StrEnum):
    """How a job ended. Work succeeded when every account and organization could be worked with."""

    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class JobRun:
    """One run of a job, for one period; work has as many periods as runs, each named by its beginning.

    `holder` is the process that does it, as claims name it. `counts` is what came of it: how many of which outcome.
    """

    job: JobName
    period: datetime
    holder: str
    began_at: datetime
    ended_at: datetime | None = None
    outcome: JobOutcome | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None

    def __post_init__(self) -> None:
        check_aware(self.period)


@dataclass(frozen=True)
class Heartbeat:
    """A daemon as it says of itself: since when it runs, when it last beat, when it last worked and last succeeded.

    Work that found nothing to do leaves no other trace. `beat_at` is by the database's clock.

    `binds_for` is how long its claims bind after it; None where only the lease counts. `actor` is its user and host;
    `version` and `policy` are what it works with. Daemons of older versions say none of it.
    """

    holder: str
    began_at: datetime
    beat_at: datetime
    work_began_at: datetime | None = None
    work_succeeded_at: datetime | None = None
    binds_for: timedelta | None = None
    actor: str | None = None
    version: str | None = None
    policy: str | None = None

    @property
    def ends_at(self) -> datetime | None:
        """Until when its claims bind, if no other heartbeat follows; None where only the lease counts."""
        return None if self.binds_for is None or not self.process else self.beat_at + self.binds_for

    @property
    def lives_for(self) -> timedelta:
        """How long the daemon counts as alive after it: minutes, and no less than its claims bind."""
        return max(BEATS_WITHIN, self.binds_for or BEATS_WITHIN)

    def was_over(self, moment: datetime) -> bool:
        """Whether its claims bound no more at that moment; False where only the lease counts."""
        return self.binds_for is not None and self.beat_at + self.binds_for < moment

    @property
    def process(self) -> str:
        """The host and the process, as claimants name them too; empty where they are not known."""
        return find_process(self.holder)


def find_process(claimant: str) -> str:
    """Return the host and the process of a claimant, `RUN@HOST#PID.START`; empty where it does not name them."""
    place = claimant.rsplit("@", 1)[-1] if "@" in claimant else ""
    return "" if place.startswith("unknown#") or place.endswith(".0") else place


def lives(beats: Iterable[Heartbeat], now: datetime, holder: str | None = None) -> bool:
    """Whether a daemon beat within the last minutes: any one, or the one of that name."""
    return any(abs(now - beat.beat_at) <= beat.lives_for for beat in beats if holder in (None, beat.holder))


def find_colleagues(beats: Iterable[Heartbeat], now: datetime) -> tuple[Heartbeat, ...]:
    """Return the daemons that share a database now, the oldest first: whose claims bind, and that began minutes ago.

    So one that takes the place of another is not counted beside it.
    """
    found = (beat for beat in beats if beat.binds_for is not None and now - beat.began_at >= BEATS_WITHIN)
    return tuple(sorted((beat for beat in found if not beat.was_over(now)), key=lambda b: (b.began_at, b.holder)))


def find_latest(beats: Iterable[Heartbeat], now: datetime, span: timedelta) -> tuple[Heartbeat, ...]:
    """Return the daemons that shared a database within that span, whatever became of them."""
    return tuple(beat for beat in beats if beat.binds_for is not None and now - beat.beat_at <= span)


_PLURALS = {"version": "versions", "policy": "policies"}


def say_differences(beats: Collection[Heartbeat]) -> str:
    """Say which versions and policies (the beginning of their digests) daemons work with; empty where all are one.

    Which daemons, by their users and hosts, is said with each.
    """
    said = []
    for what in ("version", "policy"):
        who = dict[str, set[str]]()
        for beat in beats:
            of = who.setdefault((getattr(beat, what) or "unknown")[:12], set())
            of.update([beat.actor] if beat.actor else [])
        named = (f"{value} ({', '.join(sorted(of))})" if of else value for value, of in sorted(who.items()))
        said += [f"{_PLURALS[what]} {', '.join(named)}"] if len(who) > 1 else []
    return "; ".join(said)


@dataclass(frozen=True)
class RunTimes:
    """When work last began, when it last succeeded, and whether a daemon did that. None: never, as far as we know.

    `raises_since`: since when an error ends each run; None: none ended the last one.
    """

    started_at: datetime | None = None
    succeeded_at: datetime | None = None
    by_daemon: bool = False
    raises_since: datetime | None = None


@dataclass(frozen=True)
class Failures:
    """How often a job has failed since it last succeeded, and when the first of these runs was to begin."""

    count: int = 0
    first_at: datetime | None = None


def make_period(moment: datetime, interval: timedelta) -> datetime:
    """Return the beginning of the period of that length which a moment lies in; periods begin with 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // interval * interval
