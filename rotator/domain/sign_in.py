"""A sign-in as it is remembered: when a person made it, when it was last refreshed or refused, when it is to end."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.managed_pat import Failure, check_aware

IDLE_LIMIT = timedelta(days=90)
"""How long Entra keeps a sign-in that nothing refreshes; policies of a tenant can shorten it."""
ASK_AGAIN = timedelta(hours=6)
"""How long after a refusal Entra is asked again, although nobody signed in: others may have mended it."""
WARNING_DAYS = (21, 7, 1)
"""How many days before a sign-in ends a person is told."""
NOT_SIGNED_IN = "not_signed_in"
"""The code of the refusal when there is no sign-in at all."""
GONE_USERS = frozenset({"user_disabled", "user_unknown"})
"""The codes of refusals that say that a user has left."""
ENDED_BY_FREQUENCY = "sign_in_frequency"
"""The code of the refusal that comes a fixed time after each sign-in by a person, by a policy of the tenant."""
_ENTRA_NUMBER = re.compile(r"AADSTS\d+")
_SLACK = timedelta(hours=2)
"""A sign-in is refreshed about once an hour, so when it ended is known no better."""


def name_refusal(refusal: Failure) -> str:
    """Return Entra's own number of a refusal, such as `AADSTS50173`; our code where Entra gave none."""
    number = _ENTRA_NUMBER.search(refusal.message)
    return number[0] if number else refusal.code


@dataclass(frozen=True)
class SignInMemory:
    """What is remembered of an account's sign-in. None: never, or not known.

    `refusal` is what Entra refused last, with the time from which on it did; it is gone once Entra gave tokens again.
    `asked_at` is when it was last asked since, and `generation` the sign-in in the token cache that it refused.
    `lifespan` is how long a sign-in lasts, as far as the end of an earlier one showed. `warned_days`: the last warning.
    """

    account: str
    interactive_at: datetime | None = None
    refreshed_at: datetime | None = None
    refusal: Failure | None = None
    refused_at: datetime | None = None
    asked_at: datetime | None = None
    generation: str | None = None
    lifespan: timedelta | None = None
    warned_days: int | None = None

    def __post_init__(self) -> None:
        for moment in (self.interactive_at, self.refreshed_at, self.refused_at, self.asked_at):
            if moment is not None:
                check_aware(moment)

    @property
    def lapses_at(self) -> datetime | None:
        """When the sign-in is expected to end: as an earlier one did, or unused. None when nothing is known."""
        ends = []
        if self.interactive_at is not None and self.lifespan is not None:
            ends.append(self.interactive_at + self.lifespan)
        if self.refreshed_at is not None:
            ends.append(self.refreshed_at + IDLE_LIMIT)
        return min(ends, default=None)

    def is_paused(self, generation: str, now: datetime) -> bool:
        """Whether Entra need not be asked: it refused this very sign-in, and that not long ago."""
        if self.refusal is None or self.asked_at is None or self.generation != generation:
            return False
        return timedelta(0) <= now - self.asked_at < ASK_AGAIN

    def find_warning(self, now: datetime) -> int | None:
        """Return how many days ahead the end is, as the nearest warning; None when it is further, past or not known.

        A sign-in that never lasts that long gets no such warning: it would come with each sign-in.
        """
        ends_at = self.lapses_at
        if ends_at is None or self.refusal is not None or ends_at <= now:
            return None
        whole = self.lifespan or IDLE_LIMIT
        days = [days for days in WARNING_DAYS if ends_at - now <= timedelta(days=days) < whole]
        return min(days, default=None)

    def signed_in(self, at: datetime | None) -> SignInMemory:
        """Return it after a person signed in; None: the clock is wrong, so nobody knows when."""
        return SignInMemory(self.account, interactive_at=at, refreshed_at=at, lifespan=self.lifespan)

    def signed_out(self) -> SignInMemory:
        """Return it after a person signed out."""
        return SignInMemory(self.account, interactive_at=self.interactive_at, lifespan=self.lifespan)

    def refreshed(self, at: datetime | None, now: datetime) -> SignInMemory:
        """Return it after Entra gave tokens, at that time as far as it is known.

        A sign-in that outlives the learned span proves that the policy behind it is another one now. What a wrong clock
        has dated after `now` does not count.
        """
        latest = now + MOST_SKEW
        last = max((moment for moment in (self.refreshed_at, at) if moment and moment <= latest), default=None)
        began = self.interactive_at if self.interactive_at and self.interactive_at <= latest else None
        lifespan = self.lifespan
        if lifespan is not None and began is not None and last is not None:
            age = last - began
            lifespan = None if age > lifespan + _SLACK else max(lifespan, age)
        return replace(
            self,
            interactive_at=began,
            refreshed_at=last,
            refusal=None,
            refused_at=None,
            asked_at=None,
            generation=None,
            lifespan=lifespan,
        )

    def refused(self, refusal: Failure, generation: str, at: datetime) -> SignInMemory:
        """Return it after a refusal that needs a person. One by the tenant's frequency shows how long sign-ins last."""
        lifespan = self.lifespan
        is_end = self.refusal is None and refusal.code == ENDED_BY_FREQUENCY
        if is_end and self.interactive_at is not None and self.refreshed_at is not None:
            lasted = self.refreshed_at - self.interactive_at
            lifespan = lasted if lasted > timedelta(0) else lifespan
        return replace(
            self,
            refusal=refusal,
            refused_at=self.refused_at or at,
            asked_at=at,
            generation=generation,
            lifespan=lifespan,
            warned_days=None,
        )
