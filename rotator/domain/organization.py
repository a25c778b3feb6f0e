"""An organization as it is remembered for one account: when it last worked, and why it does not since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.managed_pat import Failure, check_aware

NOTED_EVERY = timedelta(minutes=5)
"""While nothing changes, it is noted no more often that an organization works."""


@dataclass(frozen=True)
class OrganizationMemory:
    """What is remembered of an account's organization. None: never, or not known.

    `failure` is why it could not be worked with at the last look, and `failed_at` since when; both are gone once it
    worked again. `failed_at` alone: what kept it from working is over, and nobody has looked at it since.
    """

    account: str
    organization: str
    worked_at: datetime | None = None
    failure: Failure | None = None
    failed_at: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.worked_at, self.failed_at):
            if moment is not None:
                check_aware(moment)

    def worked(self, at: datetime) -> OrganizationMemory:
        """Return it after a look that worked; itself if that was noted just before."""
        is_known = self.worked_at is not None and timedelta(0) <= at - self.worked_at < NOTED_EVERY
        if self.failed_at is None and is_known:
            return self
        return replace(self, worked_at=at, failure=None, failed_at=None)

    def failed(self, failure: Failure, at: datetime) -> OrganizationMemory:
        """Return it after a look that failed."""
        return replace(self, failure=failure, failed_at=self.failed_at or at)

    def refused(self, refusal: Failure | None) -> OrganizationMemory:
        """Return it after the refusal of the account's sign-in that it failed by became another one, or ended."""
        return replace(self, failure=refusal)
