"""The ManagedPats, and the PATs that nobody manages yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.ports.claims import Claim


@dataclass(frozen=True)
class UntrackedPat:
    """A PAT that the server listed and the inventory does not hold, at the last look.

    `waits`: why no run takes it over, although a rule says so.
    """

    account: str
    organization: str
    pat: Pat
    waits: Failure | None = None


class InventoryReader(Protocol):
    """Reads the ManagedPats."""

    def load_all(self) -> tuple[ManagedPat, ...]:
        """Return all records, by name."""

    def load(self, name: str) -> ManagedPat | None:
        """Return one record. In a writing transaction nobody else changes it until that ends."""

    def load_by_ids(self, authorization_ids: Collection[str]) -> tuple[ManagedPat, ...]:
        """The records whose current PAT has one of these ids, by name. No lock is taken."""

    def find_names(self, names: Collection[str]) -> frozenset[str]:
        """Those of these names that have a record. No lock is taken."""

    def load_named(self, names: Collection[str]) -> tuple[ManagedPat, ...]:
        """Return the records of these names, by name. No lock is taken."""

    def load_page(self, after: str, limit: int) -> tuple[ManagedPat, ...]:
        """Return at most so many records, those whose names come next, in the database's own order; "" comes first."""

    def load_untracked(self) -> tuple[UntrackedPat, ...]:
        """Return what the last looks at the server found untracked."""


class Inventory(InventoryReader, Protocol):
    """The ManagedPats."""

    def add(self, pat: ManagedPat) -> None:
        """Add a new record, and give it an id. UsageError if name, authorization id or secret is already taken.

        An open rotation of that name whose record is gone is its own from then on; one that is closed is not.
        """

    def save(self, pat: ManagedPat, claim: Claim) -> None:
        """Replace a record's fields except `epoch` and its id.

        ClaimLostError unless the claim is the current one on it.
        """

    def remove(self, name: str, claim: Claim) -> None:
        """Forget a record; its rotations and pending revocations are kept, and belong to no record from then on.

        ClaimLostError unless the claim is the current one on it.
        """

    def rename(self, name: str, new_name: str, claim: Claim) -> None:
        """Give a record another name, with its rotations and pending revocations; the claim goes with the old name.

        UsageError if the new name is taken, ClaimLostError unless the claim is the current one on the record.
        """

    def save_untracked(self, account: str, organization: str, pats: tuple[Pat, ...]) -> None:
        """Replace the untracked PATs of one account and organization. Why those wait that stay is kept."""

    def save_waits(self, account: str, organization: str, waits: Mapping[str, Failure]) -> None:
        """Replace why the untracked PATs of one account and organization wait, by authorization id."""
