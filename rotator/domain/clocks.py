"""Whether the host's clock can be trusted: a vote of the clocks of services and database, and the clock of a boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median_high, median_low

MOST_SKEW = timedelta(minutes=1)
"""By how much clocks may differ. Answers tell whole seconds, and take some to arrive."""
HOST = "host"
"""What this host's clock is called as the subject of a condition."""
AUDIT_LOG = "audit_log"
"""The last event of the audit log as a witness: time has come at least so far. It counts where others are missing."""


@dataclass(frozen=True)
class BootMoment:
    """A moment by the boot clock, which nobody sets: which boot, and how long since it began, suspension included."""

    boot_id: str
    elapsed: timedelta

    def since(self, earlier: BootMoment | None) -> timedelta | None:
        """Return how long ago `earlier` was; None when it was in another boot, or is not known."""
        if earlier is None or earlier.boot_id != self.boot_id:
            return None
        return self.elapsed - earlier.elapsed


@dataclass(frozen=True)
class Verdict:
    """What the vote says of the host's clock.

    `offset` is what must be added to it: zero when it is right or nobody was heard, None when there is no majority.
    `heard` are the times of all witnesses, `agreeing` of those that agree with it, `dissenting` how far the others are
    ahead of it.
    """

    offset: timedelta | None
    heard: tuple[datetime, ...]
    agreeing: tuple[datetime, ...]
    dissenting: Mapping[str, timedelta]

    @property
    def is_wrong(self) -> bool:
        """Whether the host's clock differs from the others' by more than a minute, or nobody can tell."""
        return self.offset is None or abs(self.offset) > MOST_SKEW

    @property
    def trusted(self) -> tuple[datetime, ...]:
        """The times that count beside the host's: of those that agree with it, or of all when it is wrong itself."""
        return self.heard if self.is_wrong else self.agreeing


def judge(host: datetime, witnesses: Mapping[str, datetime], last_event: datetime | None) -> Verdict:
    """Hold the host's clock against the median of the witnesses, one vote each.

    A single dissenter among several is set aside. The last event of the audit log votes only where fewer than two
    witnesses were heard, and only when it is ahead of the host's clock.
    """
    heard = dict(witnesses)
    if len(heard) < 2 and last_event is not None and last_event > host + MOST_SKEW:
        heard[AUDIT_LOG] = last_event
    ahead = {name: moment - host for name, moment in heard.items()}
    dissenting = {name: span for name, span in ahead.items() if abs(span) > MOST_SKEW}
    agreeing = tuple(moment for name, moment in heard.items() if name not in dissenting)
    return Verdict(_find_offset(list(ahead.values()), len(dissenting)), tuple(heard.values()), agreeing, dissenting)


def _find_offset(ahead: list[timedelta], dissenters: int) -> timedelta | None:
    if not dissenters or (dissenters == 1 and len(ahead) > 1):
        return timedelta(0)
    low, high = median_low(ahead), median_high(ahead)
    return (low + high) / 2 if high - low <= MOST_SKEW else None
