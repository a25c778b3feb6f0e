"""PATs: as the server shows them, and as the inventory holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Self

from rotator.domain.marker import strip_mark
from rotator.errors import FailureKind, RotatorError

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
SECRET_NAME_PATTERN = re.compile(r"[0-9A-Za-z-]{1,127}")
_PAT_SHAPES = (re.compile(r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}"), re.compile(r"[a-z2-7]{52}"))


def check_aware(moment: datetime) -> datetime:
    """Return the same moment; ValueError when it has no time zone: naive times never enter the domain."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment


@lru_cache(maxsize=1000)  # asked often, of few different texts
def make_scopes(scope: str) -> tuple[str, ...]:
    """Return the scopes in a text that spaces separate, sorted, without duplicates."""
    return tuple(sorted(set(scope.split())))


ALL_ORGANIZATIONS = "all_organizations"
"""The code of the failure of a ManagedPat whose PAT is valid for all organizations."""

ALL_ORGANIZATIONS_END = datetime(2026, 12, 1, tzinfo=UTC)
"""From this moment on no PAT for all organizations works."""


def find_end(valid_to: datetime, *, all_organizations: bool) -> datetime:
    """Return when a PAT stops working: one for all organizations at `ALL_ORGANIZATIONS_END` at the latest.

    The server shows its own expiry, even if that is later.
    """
    return min(valid_to, ALL_ORGANIZATIONS_END) if all_organizations else valid_to


def is_pat_shaped(value: str) -> bool:
    """Return whether the text has the form of a PAT: 84 characters with a marker, or the older 52."""
    return any(shape.fullmatch(value) for shape in _PAT_SHAPES)


@dataclass(frozen=True)
class Pat:
    """A PAT's metadata as Azure DevOps reports it. Never holds the value.

    `target_accounts` holds organization ids; None means every organization the user can reach.
    """

    authorization_id: str
    display_name: str
    scope: str
    target_accounts: tuple[str, ...] | None
    valid_from: datetime
    valid_to: datetime

    def __post_init__(self) -> None:
        check_aware(self.valid_from)
        check_aware(self.valid_to)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes, sorted."""
        return make_scopes(self.scope)

    @property
    def all_organizations(self) -> bool:
        """Whether it is valid for every organization that the user can reach."""
        return self.target_accounts is None

    def as_ending(self) -> Self:
        """Return the PAT with the moment at which it stops working as its expiry: see `find_end`."""
        valid_to = find_end(self.valid_to, all_organizations=self.all_organizations)
        return self if valid_to == self.valid_to else replace(self, valid_to=valid_to)

    @property
    def ends_with_all(self) -> bool:
        """Whether it stops working with all PATs for all organizations, and not by its own expiry."""
        return self.all_organizations and self.valid_to >= ALL_ORGANIZATIONS_END

    @property
    def lifetime(self) -> timedelta:
        """From creation to expiry."""
        return self.valid_to - self.valid_from


class ManagedPatState(StrEnum):
    """What the inventory itself says about a record; `status` derives the rest from times and rotations."""

    ACTIVE = "active"
    PAUSED = "paused"


class Hold(StrEnum):
    """Something that happened to a ManagedPat and decides what may be done next, until a person or a new PAT lifts it.

    `foreign_write`: somebody else wrote its secret. `revoked_by_hand`: by `rotator revoke`. `revoked_elsewhere`: the
    server no longer lists it. `database_behind`: a rotation that our journal does not hold wrote its secret.
    """

    FOREIGN_WRITE = "foreign_write"
    REVOKED_BY_HAND = "revoked_by_hand"
    REVOKED_ELSEWHERE = "revoked_elsewhere"
    DATABASE_BEHIND = "database_behind"


@dataclass(frozen=True)
class Failure:
    """Why something did not work: three parts for people and scripts, and what of it decides what may be done next."""

    code: str
    message: str
    fix: str = ""
    kind: FailureKind | None = None

    @classmethod
    def of(cls, error: RotatorError) -> Self:
        """Return what a record or a journal keeps of an error."""
        return cls(error.code, error.message, error.fix, error.kind)


@dataclass(frozen=True)
class ManagedPat:
    """One inventory record. `name` is ours and unique in the installation.

    `authorization_id` is the PAT that consumers should be using now; it is empty while the first one is still to be
    made, and then `valid_from` is when a person asked for it, `valid_to` that moment plus the lifetime asked for.
    `epoch` counts claims: a write that carries an older epoch is refused. `retry_at` is when a failed or blocked PAT
    is looked at again.
    """

    name: str
    account: str
    organization: str
    authorization_id: str
    display_name: str
    scope: str
    valid_from: datetime
    valid_to: datetime
    vault: str
    secret_name: str
    state: ManagedPatState = ManagedPatState.ACTIVE
    secret_version: str | None = None
    """The vault's version that holds the current value, once a rotation of ours has written it."""
    confirmed_version: str | None = None
    """The one version of others that the next rotation may replace: a person saw and confirmed it when adopting."""
    failures: int = 0
    retry_at: datetime | None = None
    last_failure: Failure | None = None
    blocked: bool = False
    """The last failure needs a change by a person (policy, server rule, vault) before another try makes sense."""
    hold: Hold | None = None
    all_organizations: bool = False
    short_lived: bool = False
    """It was taken although its lifetime is shorter than its rule asks for: it is due at two thirds of its own life."""
    meant_lifetime: timedelta | None = None
    """The lifetime that it was to keep, where the server granted less; the next clone is to have it again."""
    wanted_display_name: str | None = None
    """What a person asked its next PAT to be called; None: as the current one. It is due until that PAT is stored."""
    wanted_scope: str | None = None
    wanted_lifetime: timedelta | None = None
    wanted_account: str | None = None
    """The account that a person moves it to: its next PAT is that account's. None: it stays where it is."""
    taken_over: bool = False
    """A rule took it over, and no rotation has replaced it since: who uses it may read no secret of ours."""
    epoch: int = 0
    record_id: str | None = field(default=None, compare=False)
    """Which record it is: the inventory gives it when the record is added. A later one of that name has another."""

    def __post_init__(self) -> None:
        check_aware(self.valid_from)
        check_aware(self.valid_to)
        if self.retry_at is not None:
            check_aware(self.retry_at)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes, sorted."""
        return make_scopes(self.scope)

    def as_ending(self) -> Self:
        """Return the record with the moment at which its PAT stops working as its expiry: see `find_end`."""
        valid_to = find_end(self.valid_to, all_organizations=self.all_organizations)
        return self if valid_to == self.valid_to else replace(self, valid_to=valid_to)

    @property
    def ends_with_all(self) -> bool:
        """Whether its PAT stops working with all PATs for all organizations, and not by its own expiry."""
        return self.all_organizations and self.valid_to >= ALL_ORGANIZATIONS_END

    @property
    def is_canary(self) -> bool:
        """Whether it stands for a canary, a PAT that is minted to be revoked: it has no vault, and is never rotated."""
        return not self.vault

    @property
    def has_pat(self) -> bool:
        """Whether there is a current PAT; False while the first one is still to be made."""
        return bool(self.authorization_id)

    @property
    def is_update_wanted(self) -> bool:
        """Whether a person asked its next PAT to differ from the current one."""
        wanted = (self.wanted_display_name, self.wanted_scope, self.wanted_lifetime, self.wanted_account)
        return wanted != (None, None, None, None)

    @property
    def next_account(self) -> str:
        """The account that works for it and makes its next PAT. Its current one is `account`'s, also while it moves."""
        return self.wanted_account or self.account

    def as_wanted(self) -> ManagedPat:
        """Return the record with the account, the display name and the scopes that its next PAT is to have."""
        display_name, scope = self.wanted_display_name, self.wanted_scope
        wanted = replace(self, display_name=display_name or self.display_name, scope=scope or self.scope)
        return replace(wanted, account=self.next_account)

    def as_before(self) -> ManagedPat:
        """Return the record without what was wanted of its next PAT."""
        return replace(self, wanted_display_name=None, wanted_scope=None, wanted_lifetime=None, wanted_account=None)

    @property
    def lifetime(self) -> timedelta:
        """From creation to expiry of the current PAT."""
        return self.valid_to - self.valid_from

    def healed(self) -> ManagedPat:
        """Return the record without what failed before."""
        return replace(self, failures=0, retry_at=None, last_failure=None, blocked=False, hold=None)

    @property
    def is_called_missing(self) -> bool:
        """Whether it says that the server does not list it: gone, or not yet proven gone."""
        missed = self.last_failure is not None and self.last_failure.kind is FailureKind.NOT_LISTED
        return missed or self.hold is Hold.REVOKED_ELSEWHERE

    @property
    def place(self) -> str:
        """Where its value goes, in lower case: Key Vault ignores case, so two spellings of one place must be equal."""
        return make_place(self.vault, self.secret_name)


def make_place(vault: str, secret_name: str) -> str:
    """Return where a secret is, in the one spelling of `ManagedPat.place`."""
    return f"{vault.rstrip('/')}/{secret_name}".lower()


def make_managed(pat: Pat, *, name: str, account: str, organization: str, vault: str, secret_name: str) -> ManagedPat:
    """Return a record of a PAT as the server describes it."""
    return ManagedPat(
        name=name,
        account=account,
        organization=organization,
        authorization_id=pat.authorization_id,
        display_name=pat.display_name,
        scope=pat.scope,
        valid_from=pat.valid_from,
        valid_to=pat.valid_to,
        vault=vault,
        secret_name=secret_name,
        all_organizations=pat.all_organizations,
    )


def make_name(display_name: str, organization: str, taken: frozenset[str]) -> str:
    """Return a free name for a PAT: its display name in plain characters, with organization and number if need be."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", strip_mark(display_name).lower()).strip("-._")[:80] or "pat"
    candidates = [plain, f"{plain}-{organization.lower()}"[:95]]
    for candidate in candidates:
        if candidate not in taken:
            return candidate
    number = 2
    while f"{candidates[1]}-{number}" in taken:
        number += 1
    return f"{candidates[1]}-{number}"


def make_secret_name(text: str) -> str:
    """Return a Key Vault secret name (`[0-9A-Za-z-]`, 1 to 127) made from any text; other characters become `-`."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^0-9A-Za-z-]+", "-", text)).strip("-")[:127] or "pat"
