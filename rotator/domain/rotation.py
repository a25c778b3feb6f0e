"""One attempt to replace the PAT of a ManagedPat: a journaled state machine, as values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypedDict, Unpack

from rotator.domain.clocks import MOST_SKEW, BootMoment
from rotator.domain.managed_pat import Failure, Pat, check_aware, make_place, make_scopes
from rotator.domain.marker import carries_mark
from rotator.domain.secret_value import SecretValue
from rotator.errors import IllegalTransitionError


class RotationState(StrEnum):
    """Where a rotation stands. `STEPS` says what may follow what."""

    PLANNED = "planned"
    MINTING = "minting"
    MINTED = "minted"
    VERIFIED = "verified"
    STORING = "storing"
    STORED = "stored"
    OVERLAPPING = "overlapping"
    RETIRING = "retiring"
    COMPLETED = "completed"
    ABANDONING = "abandoning"
    ABANDONED = "abandoned"
    FAILED = "failed"


_S = RotationState
STEPS: dict[RotationState, frozenset[RotationState]] = {
    _S.PLANNED: frozenset({_S.MINTING, _S.ABANDONED, _S.FAILED}),
    _S.MINTING: frozenset({_S.MINTED, _S.ABANDONING, _S.ABANDONED, _S.FAILED}),
    _S.MINTED: frozenset({_S.VERIFIED, _S.ABANDONING}),
    _S.VERIFIED: frozenset({_S.STORING, _S.ABANDONING}),
    _S.STORING: frozenset({_S.STORED, _S.ABANDONING, _S.FAILED}),
    _S.STORED: frozenset({_S.OVERLAPPING, _S.COMPLETED, _S.FAILED}),
    _S.OVERLAPPING: frozenset({_S.RETIRING, _S.COMPLETED, _S.FAILED}),
    _S.RETIRING: frozenset({_S.COMPLETED, _S.OVERLAPPING, _S.FAILED}),
    _S.ABANDONING: frozenset({_S.ABANDONED, _S.FAILED}),
    _S.COMPLETED: frozenset(),
    _S.ABANDONED: frozenset(),
    _S.FAILED: frozenset(),
}
CLOSED_STATES = frozenset(state for state, following in STEPS.items() if not following)
BEYOND_STORE = frozenset({_S.COMPLETED, _S.ABANDONING, _S.ABANDONED})
"""The states in which nobody waits any longer for a write to the vault whose answer was lost."""


class RotationKind(StrEnum):
    """What the rotation is for: to replace a PAT, or only to revoke what an earlier rotation left behind.

    `restore` is no more than one attempt to write the value of `predecessor_id` to the vault again. It is closed from
    the start: nobody waits for its answer, and a write of it that was not answered is looked for like any late one.
    """

    ROTATION = "rotation"
    REVOCATION = "revocation"
    RESTORE = "restore"


class RotationEnding(StrEnum):
    """How a rotation ended, where that decides what may be concluded later.

    `mint_ambiguous`: more than one PAT could be its mint. `clone_lost`: somebody else revoked its clone.
    `clone_revoked`: it failed, and its clone was to be revoked by then, or later.
    """

    MINT_AMBIGUOUS = "mint_ambiguous"
    CLONE_LOST = "clone_lost"
    CLONE_REVOKED = "clone_revoked"


class RotationChanges(TypedDict, total=False):
    """The fields that a step may set."""

    planned_valid_to: datetime
    known_ids: tuple[str, ...]
    sent_at: datetime
    mint_begun_at: datetime
    new_authorization_id: str
    new_valid_from: datetime
    new_valid_to: datetime
    secret_version: str
    overlap: timedelta
    overlap_until: datetime
    overlap_began: BootMoment
    failure: Failure
    ending: RotationEnding
    tried_store: bool
    awaited_hooks: tuple[str, ...]
    keeps_predecessor: bool


class Traced:
    """What is asked of a rotation for ever, and of the trace that is left of an old one."""

    kind: RotationKind
    state: RotationState
    ending: RotationEnding | None
    vault: str
    secret_name: str
    predecessor_id: str
    new_authorization_id: str | None
    tried_store: bool

    @property
    def place(self) -> str:
        """Where its value goes, in the one spelling of `ManagedPat.place`."""
        return make_place(self.vault, self.secret_name)

    @property
    def stored_id(self) -> str | None:
        """The PAT whose value its writes to the vault hold."""
        return self.predecessor_id if self.kind is RotationKind.RESTORE else self.new_authorization_id

    @property
    def may_write_late(self) -> bool:
        """Whether what it wrote to the vault, or may still write there, is not what consumers should read.

        A write that nobody waits for any more may still replace a newer one; the value of a clone that was revoked
        outside is of no use. After a rotation failed a person decides what the vault holds, until its clone was to be
        revoked: then that write would bring a dead value.
        """
        is_unawaited = self.state in BEYOND_STORE or self.ending is RotationEnding.CLONE_REVOKED
        return (self.tried_store and is_unawaited) or self.ending is RotationEnding.CLONE_LOST


@dataclass(frozen=True)
class Trace(Traced):
    """What is kept of a rotation for ever: the PATs that it names, and what it wrote or may have written."""

    id: str
    account: str
    display_name: str
    predecessor_id: str
    vault: str
    secret_name: str
    created_at: datetime
    kind: RotationKind
    state: RotationState
    ending: RotationEnding | None
    sent_at: datetime | None
    new_authorization_id: str | None
    secret_version: str | None
    tried_store: bool


@dataclass(frozen=True)
class Rotation(Traced):
    """One rotation as the journal holds it.

    `predecessor_id` is the PAT being replaced, as our own inventory knew it when the rotation was planned: the
    only id that may ever be retired. It is empty for the first PAT of a ManagedPat. `known_ids` are all ids, in lower
    case, that the server listed before the mint, "" for each entry whose id could not be read; none once the clone is
    known by its own, and of a refused mint only those of that display name.
    `planned_valid_to` is whole-second and unique among our own: the fingerprint of this attempt.
    `sent_at` is when the latest request whose answer may be lost (mint or store) was about to be sent, or when it was
    found that a run may have sent one of which the database knows nothing any more;
    `mint_begun_at` is the same for the mint, and no later request overwrites it.
    """

    id: str
    name: str
    account: str
    organization: str
    display_name: str
    scope: str
    predecessor_id: str
    predecessor_valid_to: datetime
    rule: str
    vault: str
    secret_name: str
    overlap: timedelta
    disable_previous: bool
    created_at: datetime
    updated_at: datetime
    state: RotationState = RotationState.PLANNED
    planned_valid_to: datetime | None = None
    known_ids: tuple[str, ...] = ()
    sent_at: datetime | None = None
    mint_begun_at: datetime | None = None
    new_authorization_id: str | None = None
    new_valid_from: datetime | None = None
    new_valid_to: datetime | None = None
    secret_version: str | None = None
    overlap_until: datetime | None = None
    overlap_began: BootMoment | None = None
    """When the overlap began, by the boot clock of the host where it did."""
    failure: Failure | None = None
    tried_store: bool = False
    """A write to the vault was tried and its result is not known: it may take effect late, or once more."""
    kind: RotationKind = RotationKind.ROTATION
    ending: RotationEnding | None = None
    marked: bool = False
    """Its display name carries a mark that we made; what only looks like one is a person's."""
    keeps_predecessor: bool = False
    """When the overlap is over, its old PAT is left behind for a person, not revoked.

    A rule had taken it over; or it counted as dead, so that there is no overlap, and is not proven gone.
    """
    awaited_hooks: tuple[str, ...] = ()
    """The hooks that must succeed before its overlap begins."""
    predecessor_account: str | None = None
    """Whose PAT its old one is, where that moves to another account; None: that of the clone."""
    record_id: str | None = field(default=None, compare=False)
    """The record that it belongs to, noted when it is journaled; None once that was forgotten."""

    def __post_init__(self) -> None:
        moments = (
            self.created_at,
            self.updated_at,
            self.predecessor_valid_to,
            self.planned_valid_to,
            self.sent_at,
            self.mint_begun_at,
            self.new_valid_from,
            self.new_valid_to,
            self.overlap_until,
        )
        for moment in moments:
            if moment is not None:
                check_aware(moment)

    @property
    def is_open(self) -> bool:
        """Whether it still has something to do."""
        return self.state not in CLOSED_STATES

    @property
    def has_record(self) -> bool:
        """Whether its ManagedPat is still in the inventory: a later one of that name is another."""
        return self.record_id is not None

    @property
    def is_canary(self) -> bool:
        """Whether it mints a canary: its value goes nowhere."""
        return not self.vault

    def is_of(self, name: str) -> bool:
        """Whether it belongs to the record that has this name now."""
        return self.has_record and self.name == name

    def is_misdated(self, now: datetime) -> bool:
        """Whether its overlap is to end later than an overlap that begins now: a wrong clock dated it."""
        return self.overlap_until is not None and self.overlap_until > now + self.overlap + MOST_SKEW

    @property
    def has_predecessor(self) -> bool:
        """Whether it replaces a PAT; False for the first one of a ManagedPat."""
        return bool(self.predecessor_id)

    @property
    def is_move(self) -> bool:
        """Whether its clone is another account's than its old PAT."""
        return self.predecessor_account not in (None, self.account)

    @property
    def predecessor_place(self) -> tuple[str, str]:
        """The account and the organization of its old PAT."""
        return self.predecessor_account or self.account, self.organization

    def find_owner(self, authorization_id: str | None) -> str:
        """Return the account that one of its two PATs belongs to."""
        is_old = authorization_id is not None and authorization_id == self.predecessor_id
        return self.predecessor_place[0] if is_old else self.account

    @property
    def leaves_pats(self) -> bool:
        """Whether it is closed, and a PAT of it may live for a person to judge.

        Both may after it failed. One that is completed may have kept its old PAT.
        """
        return self.state is _S.FAILED or (self.state is _S.COMPLETED and self.keeps_predecessor)

    def advance(self, state: RotationState, at: datetime, **changes: Unpack[RotationChanges]) -> Rotation:
        """Return the rotation after a step; raises IllegalTransitionError when `STEPS` forbids it.

        What replaces a PAT is never completed without an overlap, and what replaces none has no overlap.
        """
        skipped = _S.COMPLETED if self.has_predecessor else _S.OVERLAPPING
        if state not in STEPS[self.state] or (self.state is _S.STORED and state is skipped):
            raise IllegalTransitionError(f"rotation {self.id}: {self.state.value} cannot become {state.value}")
        return replace(self, state=state, updated_at=check_aware(at), **changes)

    def give_up(self, failure: Failure, at: datetime) -> Rotation:
        """Return the rotation as failed, whatever its state: nobody looks any more at what it did.

        The clone of one that is `abandoning` was to be revoked, and may be.
        """
        is_clone_revoked = self.state is _S.ABANDONING
        ending = RotationEnding.CLONE_REVOKED if is_clone_revoked else self.ending
        return replace(self, state=_S.FAILED, failure=failure, ending=ending, updated_at=check_aware(at))

    def note(self, at: datetime, **changes: Unpack[RotationChanges]) -> Rotation:
        """Return the rotation with something learned, in the same state."""
        return replace(self, updated_at=check_aware(at), **changes)


class Likeness(StrEnum):
    """How sure we are that a listed PAT is the one a rotation asked for."""

    OURS = "ours"
    NEAR = "near"
    FOREIGN = "foreign"


def compare_mint(
    pat: Pat, rotation: Rotation, organization_id: str | None, mark_key: SecretValue | None = None
) -> Likeness:
    """Return whether a listed PAT is what this rotation's mint created.

    OURS needs everything: display name, scopes, this organization alone, the exact planned second, and an id that
    was not listed before the mint; where this rotation marked the display name, with `mark_key`, any second will do.
    NEAR is the same with another expiry: a server that clamps could have made it, and so could a person; it is
    reported and never revoked unless a person says so.
    """
    alike = (
        rotation.planned_valid_to is not None
        and pat.display_name == rotation.display_name
        and pat.authorization_id.lower() not in rotation.known_ids
        and pat.authorization_id.lower() != rotation.predecessor_id.lower()
        and pat.scopes == make_scopes(rotation.scope)
        and pat.target_accounts is not None
        and len(pat.target_accounts) == 1
        and (organization_id is None or pat.target_accounts[0].lower() == organization_id.lower())
    )
    if not alike:
        return Likeness.FOREIGN
    if pat.valid_to == rotation.planned_valid_to or _is_marked(rotation, mark_key):
        return Likeness.OURS
    created_since = pat.valid_from >= rotation.created_at - timedelta(hours=1)
    earlier = rotation.planned_valid_to is not None and pat.valid_to < rotation.planned_valid_to
    return Likeness.NEAR if created_since and earlier else Likeness.FOREIGN


def _is_marked(rotation: Rotation, mark_key: SecretValue | None) -> bool:
    """Whether the journal says that we marked its display name, and the key says the same."""
    return rotation.marked and mark_key is not None and carries_mark(rotation.display_name, rotation.id, mark_key)


@lru_cache(maxsize=1000)
def make_offset_range(lifetime: timedelta) -> tuple[int, int]:
    """Bounds, in seconds, of the random span by which a planned expiry falls short of the lifetime.

    Wide enough to tell one attempt from another, small enough that `make_kept_lifetime` undoes it.
    """
    low = max(1, min(240, int(lifetime.total_seconds()) // 150))
    return low, 2 * low - 1


@lru_cache(maxsize=1000)
def find_shortfall(lifetime: timedelta) -> timedelta:
    """Return by how much a planned expiry may fall short of the lifetime at most."""
    return timedelta(seconds=make_offset_range(lifetime)[1])


@lru_cache(maxsize=1000)
def make_kept_lifetime(lifetime: timedelta) -> timedelta:
    """Return the lifetime that a PAT was meant to have: rounded up to undo the offset, so that clones do not shrink.

    Rounds to whole hours from one day on, to ten minutes from one hour on, else to minutes, and ignores an excess
    of up to 5 seconds.
    """
    step = 3600 if lifetime >= timedelta(days=1) else 600 if lifetime >= timedelta(hours=1) else 60
    seconds = max(1, int(lifetime.total_seconds()) - 5)
    return timedelta(seconds=-(-seconds // step) * step)
