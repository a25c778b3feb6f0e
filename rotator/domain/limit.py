"""The longest lifetime that a server has granted: believed for a while, and not when a PAT is about to expire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.managed_pat import ManagedPat, check_aware
from rotator.domain.urgency import is_near_expiry

_LEAST_BELIEF, _MOST_BELIEF = timedelta(days=1), timedelta(days=30)
_JUST_SEEN = timedelta(hours=7)
"""A little longer than the longest wait between two attempts."""


@dataclass(frozen=True)
class LifetimeLimit:
    """The longest lifetime that one account was granted in one organization, and when that was seen."""

    longest: timedelta
    learned_at: datetime

    def __post_init__(self) -> None:
        check_aware(self.learned_at)

    def is_believed(self, now: datetime) -> bool:
        """Whether it is younger than the lifetime that it allows, or a day if that is less; never longer than 30 days.

        Then it is tried again: the next clone is asked for with its full lifetime. A limit with a date in
        the future, from a wrong clock, is not believed.
        """
        return -_LEAST_BELIEF < now - self.learned_at < self._belief

    @property
    def _belief(self) -> timedelta:
        return min(max(self.longest, _LEAST_BELIEF), _MOST_BELIEF)

    def list_turns(self) -> tuple[datetime, datetime]:
        """Return the moments at which it counts less: it is no longer just seen, and it is not believed any more."""
        return self.learned_at + _JUST_SEEN + timedelta.resolution, self.learned_at + self._belief


def find_longest(limits: Mapping[tuple[str, str], LifetimeLimit], pat: ManagedPat, now: datetime) -> timedelta | None:
    """Return the longest lifetime that a clone of this PAT can have, as far as is known.

    Near its expiry only what the last attempt has seen counts: there a short clone is taken, and where lists lag only
    one that is asked for as short as it is granted can be proven.
    """
    limit = limits.get((pat.next_account, pat.organization))
    if limit is None or not limit.is_believed(now):
        return None
    is_old = now - limit.learned_at > _JUST_SEEN
    return None if is_old and is_near_expiry(pat.valid_from, pat.valid_to, now) else limit.longest
