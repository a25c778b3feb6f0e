"""Who accounts for a PAT: the one answer that decides whether it may be adopted, revoked or called an orphan.

A PAT is accounted for by the record that names it, by an open or failed rotation that replaces or made it, by a
completed one that replaced it and let it live, or by a mint that was sent and not answered, whose fingerprint it has.
`load_keepers` asks by index. A decision that is acted on asks in the transaction that writes it, after the server was
listed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.rotation import Likeness, Rotation, RotationState, Traced, compare_mint
from rotator.errors import UsageError
from rotator.ports.database import Reading


class KeeperKind(StrEnum):
    """How a PAT is accounted for.

    `record`: it is the current PAT of a record. `rotation`: an open rotation replaces it or made it. `failed_rotation`:
    a failed one does, or did. `completed_rotation`: one replaced it and let it live. `sent_mint`: an unanswered mint
    certainly made it. `possible_mint`: an unanswered mint may have made it, and so may a person.
    """

    RECORD = "record"
    ROTATION = "rotation"
    FAILED_ROTATION = "failed_rotation"
    COMPLETED_ROTATION = "completed_rotation"
    SENT_MINT = "sent_mint"
    POSSIBLE_MINT = "possible_mint"


_CLOSED_KINDS = {
    RotationState.FAILED: KeeperKind.FAILED_ROTATION,
    RotationState.COMPLETED: KeeperKind.COMPLETED_ROTATION,
}
_MINT_KINDS = ((Likeness.OURS, KeeperKind.SENT_MINT), (Likeness.NEAR, KeeperKind.POSSIBLE_MINT))

_USE_INSTEAD = {
    KeeperKind.RECORD: "`rotator revoke {name}` revokes the PAT in use, `rotator inventory forget {name}` forgets it.",
    KeeperKind.ROTATION: "`rotator revoke {name} --previous` ends its overlap; `rotator once` finishes its rotation.",
    KeeperKind.FAILED_ROTATION: "`rotator recover --dry-run` shows it, `rotator recover --revoke {id}` revokes it.",
    KeeperKind.COMPLETED_ROTATION: "`rotator recover --dry-run` shows it, `rotator recover --revoke {id}` revokes it.",
}
_OF_A_MINT = "`rotator once` finds out what became of that mint. Then try again."


@dataclass(frozen=True)
class Keeper:
    """What accounts for one PAT: the ManagedPat called `name`, by its `record` or by one `rotation` of it.

    `is_managed`: the inventory still has the record; one that has got its name since is another.
    """

    kind: KeeperKind
    name: str
    is_managed: bool = True
    record: ManagedPat | None = None
    rotation: Rotation | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is a rotation that is not finished."""
        return self.rotation is not None and self.rotation.is_open

    @property
    def is_in_use(self) -> bool:
        """Whether it is a record, or a rotation that is not finished and names the PAT."""
        return self.kind in (KeeperKind.RECORD, KeeperKind.ROTATION)

    @property
    def binds(self) -> bool:
        """Whether it is more than history: what is closed counts while its ManagedPat is in the inventory."""
        return self.is_managed or self.is_open


@dataclass(frozen=True)
class Keepers:
    """Everything that accounts for certain PATs, as one transaction saw it.

    `rotations` are the open ones and those that left PATs, `mints` those whose mint was sent and is not answered, the
    oldest first each; `minted_ids` are those of them that any rotation ever made.
    """

    pats: tuple[ManagedPat, ...]
    rotations: tuple[Rotation, ...]
    mints: tuple[Rotation, ...]
    minted_ids: frozenset[str]
    pending: tuple[PendingRevocation, ...] = ()
    """The revocations that are not proven yet: such a PAT lives on against our will, and nobody uses it."""

    def find_pending(self, authorization_id: str) -> PendingRevocation | None:
        """The pending revocation of a PAT."""
        return next((item for item in self.pending if item.authorization_id == authorization_id), None)

    def find_by_id(self, authorization_id: str, *, besides: str = "") -> Keeper | None:
        """What accounts for an id: any record, or a rotation of a ManagedPat other than the one called `besides`."""
        for pat in self.pats:
            if pat.authorization_id == authorization_id:
                return Keeper(KeeperKind.RECORD, pat.name, record=pat)
        naming = [
            rotation
            for rotation in self.rotations
            if authorization_id in list_kept_ids(rotation) and not rotation.is_of(besides)
        ]
        if not naming:
            return None
        rotation = max(reversed(naming), key=lambda rotation: (rotation.is_open, rotation.has_record))
        return self._keep(_CLOSED_KINDS.get(rotation.state, KeeperKind.ROTATION), rotation)

    def find(
        self, pat: Pat, account: str, organization: str, organization_id: str | None = None, *, besides: str = ""
    ) -> Keeper | None:
        """What accounts for a listed PAT: by its id as in `find_by_id`, or else by its likeness to an unanswered mint.

        What one rotation made, and journaled, no other can have made.
        """
        known = self.find_by_id(pat.authorization_id, besides=besides)
        if known is not None or pat.authorization_id in self.minted_ids:
            return known
        alike = [
            (compare_mint(pat, rotation, organization_id), rotation)
            for rotation in self.mints
            if (rotation.account, rotation.organization) == (account, organization) and not rotation.is_of(besides)
        ]
        for wanted, kind in _MINT_KINDS:
            for likeness, rotation in alike:
                if likeness is wanted:
                    return self._keep(kind, rotation)
        return None

    def _keep(self, kind: KeeperKind, rotation: Rotation) -> Keeper:
        return Keeper(kind, rotation.name, rotation.has_record, rotation=rotation)


def get_ids(rotation: Traced) -> tuple[str, ...]:
    """Both PATs of a rotation, as far as they are known: the old PAT and the clone."""
    return tuple(found for found in (rotation.predecessor_id, rotation.new_authorization_id) if found)


def list_kept_ids(rotation: Rotation) -> tuple[str, ...]:
    """The PATs that a rotation accounts for: both until it is completed, then the old PAT if it was let live."""
    if rotation.is_open or rotation.state is RotationState.FAILED:
        return get_ids(rotation)
    return (rotation.predecessor_id,) if rotation.leaves_pats else ()


def find_other_keeper(reading: Reading, authorization_id: str, name: str) -> Keeper | None:
    """Return what accounts for a PAT that a rotation of `name` is about to revoke, besides its own rotations."""
    keeper = load_namers(reading, [authorization_id]).find_by_id(authorization_id, besides=name)
    return keeper if keeper is not None and keeper.binds else None


def load_namers(reading: Reading, authorization_ids: Collection[str]) -> Keepers:
    """What names PATs of these ids, for who asks by id alone: `load_keepers` without what no id is known of."""
    pats = reading.inventory.load_by_ids(authorization_ids)
    return _make_keepers(reading, authorization_ids, pats)


def load_keepers(reading: Reading, authorization_ids: Collection[str], now: datetime) -> Keepers:
    """Everything that accounts for PATs of these ids, by index; an unanswered mint until what it asked for expires.

    `now` is by the earliest clock at hand where something is decided: a host that is ahead must not drop a mint.

    A PAT passes from an unanswered mint to the rotation's id and from there to a record: read in this order, with the
    database's own refusal of a second record for one PAT, it is never missed, even if others commit meanwhile.
    """
    pats = reading.inventory.load_by_ids(authorization_ids)
    mints = reading.journal.load_sent_mints(now)
    named = _make_keepers(reading, authorization_ids, pats, mints)
    return replace(named, pending=reading.revocations.load_by_ids(authorization_ids))


def _make_keepers(
    reading: Reading,
    authorization_ids: Collection[str],
    pats: tuple[ManagedPat, ...],
    mints: tuple[Rotation, ...] = (),
) -> Keepers:
    naming = reading.journal.load_naming(authorization_ids)
    ever = reading.journal.load_traces(authorization_ids)
    return Keepers(
        pats=pats,
        rotations=tuple(rotation for rotation in naming if list_kept_ids(rotation)),
        mints=mints,
        minted_ids=frozenset(r.new_authorization_id for r in ever if r.new_authorization_id is not None),
    )


def refuse_kept(authorization_id: str, keeper: Keeper) -> UsageError:
    """Make the error for a command that would revoke a PAT which is accounted for: it says which one does that."""
    what = "the current PAT" if keeper.kind is KeeperKind.RECORD else "a PAT of a rotation"
    fix = _USE_INSTEAD.get(keeper.kind, _OF_A_MINT).format(name=keeper.name, id=authorization_id)
    return UsageError(f"{authorization_id} is {what} of {keeper.name}, which rotator manages", fix=fix)
