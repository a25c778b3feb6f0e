"""The rotations."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from rotator.domain.rotation import Rotation, Trace
from rotator.ports.claims import Claim


class JournalReader(Protocol):
    """Reads the rotations. Of an old one only its trace is kept, for what is asked about all rotations ever."""

    def load_open(self) -> tuple[Rotation, ...]:
        """Return every rotation that is not closed."""

    def load_open_for(self, names: Collection[str]) -> tuple[Rotation, ...]:
        """Return the rotations of these ManagedPats that are not closed."""

    def load_for(self, name: str, *, since: datetime | None = None) -> tuple[Rotation, ...]:
        """Return the rotations of the record of that name, the newest first; those created since then if given.

        None of an earlier record of that name.
        """

    def load_writers(self, place: str, named: Collection[str]) -> tuple[Trace, ...]:
        """Return the traces of rotations of any record whose values go to this secret, the newest first.

        Of those that are open, and of those ever whose id, clone or version is one of `named`.
        """

    def load_traces(self, authorization_ids: Collection[str]) -> tuple[Trace, ...]:
        """Return the traces of all rotations ever that were to replace one of these PATs or made it, oldest first."""

    def load_unconfirmed(self, now: datetime) -> tuple[Rotation, ...]:
        """Return closed rotations without a known new PAT whose mint was sent and whose planned expiry is after `now`.

        Their request may still take effect: a listing that shows their fingerprint shows an orphan of ours.
        """

    def load_sent_mints(self, now: datetime) -> tuple[Rotation, ...]:
        """Rotations, open or closed, whose mint was sent, whose new PAT is not known and whose planned expiry is
        after `now`, the oldest first.
        """

    def load_naming(self, authorization_ids: Collection[str]) -> tuple[Rotation, ...]:
        """Every rotation, open or closed, that was to replace one of these PATs or made it, the oldest first.

        None that is old: that accounts for nothing.
        """

    def find_known(self, rotation_ids: Collection[str]) -> frozenset[str]:
        """Return those of the ids that the journal ever held, whatever ManagedPat they belong to."""

    def load_leaving(self, now: datetime) -> tuple[Rotation, ...]:
        """Return the closed rotations whose `leaves_pats` is true, the oldest first; of its PATs, one expires later."""

    def load_late_stores(self, since: datetime) -> tuple[Rotation, ...]:
        """Return the rotations whose `may_write_late` is true, last changed at or after `since`."""

    def load_planned(self, organization: str, display_name: str) -> frozenset[datetime]:
        """Return the planned expiries of the open rotations whose clones have that display name there."""

    def load_past(self, changed: datetime, ended: datetime, after: str, limit: int) -> tuple[Trace, ...]:
        """Return the traces of rotations that are closed and left no PATs, in the order of their ids after that one.

        All that was done in them was done before `changed`, and their PATs and overlaps ended before `ended`.
        """

    def count_mints(self, since: datetime, until: datetime) -> int:
        """Count the mints that were begun after `since` and not after `until`, whoever began them."""


class Journal(JournalReader, Protocol):
    """The rotations. Every write is fenced: ClaimLostError unless the claim's epoch is the current one."""

    def lock_mints(self, since: datetime, until: datetime) -> int:
        """Take the lock on mints, hold it until this transaction ends, and return `count_mints`.

        Until then that stays right, except for mints that are begun without the lock.
        """

    def insert(self, rotation: Rotation, claim: Claim) -> None:
        """Add a new rotation: it belongs to the claimed record. ClaimHeldError when that has an open one already."""

    def enter(self, rotation: Rotation, claim: Claim) -> None:
        """Insert a rotation, or replace the one of its id that wrote the same secret, also where that is old."""

    def archive(self, rotation_ids: Collection[str]) -> int:
        """Make these rotations old: keep their traces alone. Return how many there were."""

    def note_revoked(self, authorization_id: str, at: datetime, claim: Claim) -> None:
        """Note, for the failed rotations of any record that made this PAT, that it is to be revoked: `clone_revoked`.

        Only where a write of its value has no answer, and nothing else is known of the clone.
        """

    def redate(self, after: datetime, at: datetime, claim: Claim) -> None:
        """Let every rotation of the claimed record, or of none, that was changed after `after` be changed at `at`."""

    def save(self, rotation: Rotation, claim: Claim) -> None:
        """Replace a rotation of the claimed record, or of none: then it belongs to the claimed one."""
