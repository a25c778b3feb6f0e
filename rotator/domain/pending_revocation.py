"""A revocation that was requested and answered, and is not proven yet: the answer to a DELETE is no proof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from rotator.domain.managed_pat import ManagedPat, check_aware, make_place

TELL_AFTER = timedelta(minutes=15)
"""How long a revocation may stay unproven before a person is told."""


class RevocationKind(StrEnum):
    """Why a PAT was to be revoked.

    `rotated`: its successor is stored and works. `abandoned`: it was a clone that cannot be used. `late`: its mint took
    effect after the rotation went on without it. `by hand`: a person said so.
    """

    ROTATED = "rotated"
    ABANDONED = "abandoned"
    LATE = "late"
    BY_HAND = "by hand"


@dataclass(frozen=True)
class PendingRevocation:
    """One PAT of ours that was to be revoked, until the server's lists show that it is gone.

    `name`, `vault` and `secret_name` are those of the ManagedPat that it belonged to.
    `since` is when its revocation was first answered, `requested_at` when it was last requested, `requests` how often.
    `missed_at` is when a look first did not find it without proving that it is gone. `valid_to` is its expiry.
    """

    authorization_id: str
    name: str
    account: str
    organization: str
    vault: str
    secret_name: str
    kind: RevocationKind
    valid_to: datetime
    since: datetime
    requested_at: datetime
    requests: int = 1
    rotation_id: str | None = None
    missed_at: datetime | None = None
    record_id: str | None = field(default=None, compare=False)
    """The record that it belongs to, noted when it is stored; None once that was forgotten."""

    def __post_init__(self) -> None:
        for moment in (self.valid_to, self.since, self.requested_at):
            check_aware(moment)

    @property
    def is_detached(self) -> bool:
        """Whether its ManagedPat was forgotten: the PAT is only looked for, never revoked, whatever gets the name."""
        return self.record_id is None

    def belongs_to(self, pat: ManagedPat) -> bool:
        """Whether that record is the one that it was requested for: what its secret hands out decides about the PAT.

        The record may have moved to another account since: the PAT is still that of its own.
        """
        mine = (self.record_id, self.organization, make_place(self.vault, self.secret_name))
        return not self.is_detached and mine == (pat.record_id, pat.organization, pat.place)

    def request(self, at: datetime) -> Self:
        """Return it as it is once its first request was answered, at that time."""
        return replace(self, since=at, requested_at=at)

    def request_again(self, at: datetime) -> Self:
        """Return it as it is once another request is about to be sent."""
        return replace(self, requested_at=at, requests=self.requests + 1, missed_at=None)

    def is_overdue(self, now: datetime) -> bool:
        """Whether it has been unproven for so long that a person is told."""
        return now - self.since >= TELL_AFTER


def group_pending(pending: Iterable[PendingRevocation]) -> dict[str, list[PendingRevocation]]:
    """Return them by the name of the ManagedPat that they belonged to."""
    grouped: dict[str, list[PendingRevocation]] = {}
    for item in pending:
        grouped.setdefault(item.name, []).append(item)
    return grouped
