"""The one comparison between what the server lists and what our records account for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.rotation import Likeness, Rotation, RotationEnding, RotationState, compare_mint
from rotator.domain.secret_value import SecretValue
from rotator.engine.accounting import Keepers
from rotator.engine.left_behind import LeftBehind, find_left_behind
from rotator.engine.listing import Listing
from rotator.engine.records import Known


class ScanKind(StrEnum):
    """How a PAT of the server and our records relate.

    `managed` is in the inventory and `drifted` is too, with other metadata; `missing` is in the inventory and not
    listed; `rotating` belongs to an open rotation; `minting` is, or may be, what an open rotation asked for; `late` is
    a lost mint of ours that was created after its rotation was closed; `left_behind` is what a closed rotation left
    alive, or may have; `pending_revocation` was to be revoked and lives on, so each run asks again; `untracked` is
    none of these.
    """

    MANAGED = "managed"
    UNTRACKED = "untracked"
    MISSING = "missing"
    DRIFTED = "drifted"
    ROTATING = "rotating"
    MINTING = "minting"
    LATE = "late"
    LEFT_BEHIND = "left_behind"
    PENDING_REVOCATION = "pending_revocation"


UNMANAGED = frozenset(
    {ScanKind.UNTRACKED, ScanKind.MINTING, ScanKind.LATE, ScanKind.LEFT_BEHIND, ScanKind.PENDING_REVOCATION}
)


@dataclass(frozen=True)
class ScanEntry:
    """One PAT, one record, or both. `name` is the record's; `pat` is None for `missing`.

    `rotation` is the one that a `late` PAT comes from, or a `minting` one seems to.
    """

    kind: ScanKind
    account: str
    organization: str
    name: str | None
    authorization_id: str
    pat: Pat | None
    record: ManagedPat | None = None
    rotation: Rotation | None = None
    left: LeftBehind | None = None

    def as_ending(self) -> Self:
        """Return the entry with the moments at which its PATs stop working as their expiry."""
        pat, record = self.pat, self.record
        return replace(self, pat=pat and pat.as_ending(), record=record and record.as_ending())


@dataclass(frozen=True)
class Comparison:
    """One account's PATs in one organization: those listed by display name and expiry, then the missing ones.

    `lost_clones` are the names of ManagedPats in their overlap whose clone is not listed.
    """

    entries: tuple[ScanEntry, ...]
    lost_clones: tuple[str, ...]


def compare(
    known: Known, keepers: Keepers, listing: Listing, now: datetime, mark_key: SecretValue | None = None
) -> Comparison:
    """Compare a listing with our records and with what accounts for its PATs, both loaded after the listing."""
    pair = (listing.account, listing.organization)
    records = {p.authorization_id: p for p in known.pats if (p.account, p.organization) == pair and p.has_pat}
    late = _find_late(keepers, listing, mark_key)
    left = {item.pat.authorization_id: item for item in find_left_behind(keepers, *pair, listing.pats)}
    entries = []
    for pat in sorted(listing.pats, key=lambda item: (item.display_name, item.valid_to)):
        identifier = pat.authorization_id
        record, rotation = records.get(identifier), late.get(identifier)
        keeper = keepers.find(pat, *pair, listing.identity.organization_id)
        if record is not None:
            kind = _find_kind(record, pat)
        elif keeper is not None and keeper.is_in_use:
            kind = ScanKind.ROTATING
        elif rotation is not None:
            kind = ScanKind.LATE
        elif keeper is not None and keeper.is_open:
            kind, rotation = ScanKind.MINTING, keeper.rotation
        elif identifier in left:
            kind = ScanKind.LEFT_BEHIND if left[identifier].needs_person else ScanKind.PENDING_REVOCATION
        else:
            kind = ScanKind.UNTRACKED
        name = record.name if record is not None else None
        entries.append(ScanEntry(kind, *pair, name, identifier, pat, record, rotation, left.get(identifier)))
    listed = {pat.authorization_id for pat in listing.pats}
    missing = [compare_record(record, listing) for identifier, record in records.items() if identifier not in listed]
    return Comparison((*entries, *missing), find_lost_clones(known.open_rotations, listing, now))


def compare_record(record: ManagedPat, listing: Listing) -> ScanEntry:
    """Compare one record that has a PAT with the listing of its place."""
    identifier, pat = record.authorization_id, listing.find(record.authorization_id)
    kind = _find_kind(record, pat)
    return ScanEntry(kind, listing.account, listing.organization, record.name, identifier, pat, record)


def _find_kind(record: ManagedPat, pat: Pat | None) -> ScanKind:
    if pat is None:
        return ScanKind.MISSING
    return ScanKind.DRIFTED if has_drifted(record, pat) else ScanKind.MANAGED


def has_drifted(pat: ManagedPat, current: Pat) -> bool:
    """Whether the server describes a PAT differently from the inventory."""
    return (pat.display_name, pat.scopes, pat.valid_to, pat.all_organizations) != (
        current.display_name,
        current.scopes,
        current.valid_to,
        current.all_organizations,
    )


def _find_late(keepers: Keepers, listing: Listing, mark_key: SecretValue | None) -> dict[str, Rotation]:
    """Return the listed PATs that are certainly lost mints of closed rotations, by authorization id.

    Those of a ManagedPat that was forgotten are left behind: nothing works on it any more.
    """
    late: dict[str, Rotation] = {}
    for rotation in keepers.mints:
        is_here = (rotation.account, rotation.organization) == (listing.account, listing.organization)
        if rotation.is_open or not is_here or not rotation.has_record:
            continue
        ours = [
            pat.authorization_id
            for pat in listing.pats
            if pat.authorization_id not in keepers.minted_ids
            and keepers.find_by_id(pat.authorization_id) is None
            and compare_mint(pat, rotation, listing.identity.organization_id, mark_key) is Likeness.OURS
        ]
        # One mint makes one PAT: where two look like it, or once did, one of them is a person's.
        if len(ours) == 1 and rotation.ending is not RotationEnding.MINT_AMBIGUOUS:
            late[ours[0]] = rotation
    return late


def find_lost_clones(rotations: Iterable[Rotation], listing: Listing, now: datetime) -> tuple[str, ...]:
    """Return the ManagedPats of these open rotations whose clone the vault hands out although it is listed no more."""
    return tuple(
        rotation.name
        for rotation in rotations
        if (rotation.account, rotation.organization) == (listing.account, listing.organization)
        and rotation.state is RotationState.OVERLAPPING
        and (rotation.new_valid_to is None or rotation.new_valid_to > now)
        and listing.find(rotation.new_authorization_id) is None
    )
