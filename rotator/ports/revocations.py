"""The revocations that were requested and are not proven yet."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from rotator.domain.pending_revocation import PendingRevocation
from rotator.ports.claims import Claim


class RevocationsReader(Protocol):
    """The pending revocations."""

    def load(self) -> tuple[PendingRevocation, ...]:
        """Return all of them, the oldest first."""

    def load_for(self, names: Collection[str]) -> tuple[PendingRevocation, ...]:
        """Return those of these ManagedPats, the oldest first."""

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[PendingRevocation, ...]:
        """Return those of the PATs with these ids, the oldest first."""


class Revocations(RevocationsReader, Protocol):
    """The same, with the means to begin and end them.

    A revocation is requested under a claim. What a look at the server found needs none: the record may be forgotten,
    and what is gone stays gone.
    """

    def save(self, pending: PendingRevocation, claim: Claim) -> None:
        """Add one, or replace that of the same PAT: it belongs to the claimed record.

        ClaimLostError unless the claim is the current one on its name.
        """

    def note_missed(self, authorization_id: str, at: datetime | None) -> None:
        """Note when a look first missed the PAT; None when it was seen. Does nothing if there is no such one."""

    def redate(self, after: datetime, at: datetime) -> None:
        """Replace by `at` whatever is after `after`: since when one is pending, its last request, its first miss."""

    def end(self, authorization_id: str) -> bool:
        """Take one away. Return whether there was one: of several that try, one alone is told yes."""
