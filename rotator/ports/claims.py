"""Claims on ManagedPats, and the fence that they put before every write."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True)
class Claim:
    """The right to work on one ManagedPat until `expires_at`; `epoch` grows with each claim and fences writes.

    It belongs to one piece of work. `claimant` names the run and the process that hold it; `taken_from`: the one whose
    claim was over and not given back.
    """

    name: str
    claimant: str
    epoch: int
    expires_at: datetime
    taken_from: str | None = field(default=None, compare=False)


class ClaimsReader(Protocol):
    """Reads who works on what."""

    def find_held(self, names: Collection[str], *, now: datetime, span: timedelta) -> frozenset[str]:
        """Return those of these names whose ManagedPat a run works on now: its claim is valid, and not given back."""

    def find_next_over(self, *, now: datetime, span: timedelta, name: str | None = None) -> timedelta | None:
        """Return how long a claim still binds whose process has ended or stands still: zero when one binds no more.

        None when there is none, as far as is known: a daemon that has missed a heartbeat may stand still. With a `name`
        only the claim on that ManagedPat is asked about.
        """

    def load_all(self) -> tuple[Claim, ...]:
        """Return the claims that were not given back, whether or not they still bind."""


class Claims(ClaimsReader, Protocol):
    """Claims on ManagedPats."""

    def claim(self, name: str, claimant: str, *, now: datetime, span: timedelta) -> Claim:
        """Claim a ManagedPat, with the next epoch. From then on it is due in the queue, until an entry is saved.

        ClaimHeldError while any claim on it is valid, even one by the same claimant.
        """

    def renew(self, claim: Claim, *, now: datetime, span: timedelta) -> Claim:
        """Return the claim with a later end. ClaimLostError if somebody else has claimed since."""

    def keep_sights(self, *, now: datetime) -> None:
        """Keep for the next processes of this host which daemons that were at work this one sees to stay away.

        They go on from there: else one that is started again and again would never see that for long enough.
        """

    def release(self, claim: Claim) -> bool:
        """Give a claim back. A claim that was lost is left alone: then it returns False."""
