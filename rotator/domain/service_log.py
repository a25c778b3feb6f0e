"""The service log: the audit log that Azure DevOps keeps itself, as far as it tells of PATs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain.marker import strip_mark

KEPT_FOR = timedelta(days=90)
"""How long Azure DevOps keeps its log."""
LAG = timedelta(days=1)
"""How late an entry may appear: what is younger, and not there yet, proves nothing."""


class EntryKind(StrEnum):
    """What an entry says of a PAT."""

    MINTED = "minted"
    CHANGED = "changed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    REVOKED_BY_SYSTEM = "revoked_by_system"
    FOUND_IN_PUBLIC = "found_in_public"

    @property
    def may_be_leak(self) -> bool:
        """Whether Azure DevOps itself acted: it found the value in a public place, or revoked the PAT."""
        return self in (EntryKind.FOUND_IN_PUBLIC, EntryKind.REVOKED_BY_SYSTEM)


@dataclass(frozen=True)
class ServiceLogEntry:
    """One entry about a PAT. Texts from outside are harmless by now; what an entry leaves out is empty or None.

    `actor` is who did it, as the sign-in name, `actor_id` the service's own id of that user. `owner` is whose PAT it
    is, where the entry says so. `answer_ids` may be those of the answer to the request that did it.
    """

    id: str
    kind: EntryKind
    at: datetime
    actor: str = ""
    actor_id: str = ""
    owner: str = ""
    display_name: str = ""
    valid_to: datetime | None = None
    answer_ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ServiceLogRead:
    """What was read of a period: the entries about PATs, each once. `read` counts all entries, those about others too.

    `unreadable` counts those that could not be read: what they may hide is not absent.
    """

    entries: tuple[ServiceLogEntry, ...]
    read: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Owner:
    """A user whose PATs are managed: the account, and by what an entry may name the user."""

    account: str
    username: str
    user_id: str = ""
    display_name: str = ""
    managed_names: frozenset[str] = field(default=frozenset())
    """The display names of its ManagedPats in the organization, without marks."""
    is_known: bool = True
    """Whether the service said who the user is: without that, only the sign-in name is known."""

    def is_named(self, entry: ServiceLogEntry) -> bool:
        """Whether an entry says that the PAT is this user's; or that the user did it, and not whose the PAT is."""
        if not entry.owner:
            return self.did(entry)
        names = {_fold(self.username), _fold(self.display_name), _fold(self.user_id)} - {""}
        return _fold(entry.owner) in names

    def did(self, entry: ServiceLogEntry) -> bool:
        """Whether an entry says that the user did it."""
        return _fold(self.username) == _fold(entry.actor) or entry.actor_id == self.user_id != ""

    def may_be_named(self, entry: ServiceLogEntry) -> bool:
        """Whether an entry may be about this user's PAT, and nobody can tell, as it is not known who the user is."""
        if self.is_known:
            return False
        named = entry.owner or entry.actor
        is_other = "@" in named or not (named or entry.actor_id)
        return not is_other or strip_mark(entry.display_name) in self.managed_names


def find_possible_owner(entry: ServiceLogEntry, owners: Sequence[Owner]) -> Owner | None:
    """Return who of those that are not known may be the owner of the PAT that an entry is about."""
    return next((owner for owner in owners if owner.may_be_named(entry)), None)


def find_owner(entry: ServiceLogEntry, owners: Sequence[Owner]) -> Owner | None:
    """Return whose PAT an entry is about; None if it is nobody's whose PATs are managed.

    What a user of ours did is told as that user's, also where the entry names another owner. What no user did, as
    where the service itself acts, is about the PAT of that display name: the owner may be named in another way, or by
    an old name. Where several have that display name, and it is not known who their users are, the name may tell later.
    """
    for says in (Owner.is_named, Owner.did):
        for owner in owners:
            if says(owner, entry):
                return owner
    if "@" in entry.owner or "@" in entry.actor:
        return None
    alike = [owner for owner in owners if strip_mark(entry.display_name) in owner.managed_names]
    may_be_told_apart = len(alike) > 1 and entry.owner and not all(owner.is_known for owner in alike)
    return None if may_be_told_apart else next(iter(alike), None)


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
