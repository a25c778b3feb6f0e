"""Which of many PATs a command shows, in which order and in which form."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from rotator.domain.words import say_did_you_mean, say_unknown
from rotator.errors import NotManagedError, UsageError

if TYPE_CHECKING:
    from rotator.ports.database import Database

_Item = TypeVar("_Item")
_GLOB = frozenset("*?[")


class Form(StrEnum):
    """What is printed of the PATs that were chosen."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    CSV = "csv"
    JSON = "json"


class Order(StrEnum):
    """What the PATs are sorted by."""

    NAME = "name"
    ACCOUNT = "account"
    ORGANIZATION = "organization"
    STATE = "state"
    EXPIRES = "expires"


@dataclass(frozen=True)
class Facts:
    """What a PAT is chosen and sorted by. `expires_at` is None where that is not known."""

    name: str
    account: str
    organization: str
    state: str
    expires_at: datetime | None


@dataclass(frozen=True)
class Selection:
    """What was asked for. Patterns are names, or globs such as `team01*`; none of a kind means all."""

    names: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    expires_within: timedelta | None = None
    order: Order | None = None
    limit: int | None = None
    form: Form = Form.TABLE

    @property
    def is_filtered(self) -> bool:
        """Whether anything may be left out."""
        patterns = self.names or self.accounts or self.organizations or self.states
        return bool(patterns) or self.expires_within is not None or self.limit is not None

    def choose(self, items: Iterable[_Item], describe: Callable[[_Item], Facts], now: datetime) -> tuple[_Item, ...]:
        """Return the items that were asked for, in the order asked for, or as they come.

        UsageError for a name, an account or an organization that is no glob and fits nothing.
        """
        if not self.is_filtered and self.order is None:
            return tuple(items)
        pairs = [(describe(item), item) for item in items]
        for what, given, patterns, known in (
            ("PAT", "a name", self.names, {facts.name for facts, _ in pairs}),
            ("account", "`--account`", self.accounts, {facts.account for facts, _ in pairs}),
            ("organization", "`--organization`", self.organizations, {facts.organization for facts, _ in pairs}),
        ):
            check_known(what, patterns, known, f"Run the command without {given} to see every {what}.")
        names = frozenset(self.names).intersection(facts.name for facts, _ in pairs)
        globs = tuple(pattern for pattern in self.names if pattern not in names)  # what is a name is no glob
        chosen = [
            pair
            for pair in pairs
            if (not self.names or pair[0].name in names or _fits_one(pair[0].name, globs)) and self._fits(pair[0], now)
        ]
        if self.order is not None:
            key = _KEYS[self.order]
            chosen.sort(key=lambda pair: key(pair[0]))
        return tuple(item for _, item in chosen[: self.limit])

    def _fits(self, facts: Facts, now: datetime) -> bool:
        within = self.expires_within
        return (
            _matches(facts.account, self.accounts)
            and _matches(facts.organization, self.organizations)
            and (not self.states or facts.state in self.states)
            and (within is None or (facts.expires_at is not None and facts.expires_at <= now + within))
        )


_KEYS: dict[Order, Callable[[Facts], tuple[str, ...]]] = {
    Order.NAME: lambda facts: (facts.name.casefold(),),
    Order.ACCOUNT: lambda facts: (facts.account, facts.name.casefold()),
    Order.ORGANIZATION: lambda facts: (facts.organization, facts.name.casefold()),
    Order.STATE: lambda facts: (facts.state, facts.name.casefold()),
    Order.EXPIRES: lambda facts: ("~" if facts.expires_at is None else facts.expires_at.isoformat(), facts.name),
}


def is_glob(pattern: str) -> bool:
    """Whether the pattern may fit more than one name."""
    return not _GLOB.isdisjoint(pattern)


def check_known(what: str, patterns: Iterable[str], known: Iterable[str], fix: str, *, globs: bool = True) -> None:
    """Raise UsageError for the patterns that nothing is called and, where `globs` are understood, that are none."""
    every = set(known)
    unknown = [name for name in sorted(set(patterns) - every) if not (globs and is_glob(name))]
    if unknown:
        others = (f' and none named "{name}"{say_did_you_mean(name, every)}' for name in unknown[1:])
        said = say_unknown(what, unknown[0], every) + "".join(others)
        raise UsageError(said, code=NotManagedError.code, fix=fix)


def take_one(_context: object, _parameter: object, value: str) -> str:
    """A click callback for a command on one PAT. UsageError for a glob, which may fit several."""
    if is_glob(value):
        said = f'"{value}" is a glob, and this command takes one name'
        raise UsageError(said, fix=f"`rotator status {shlex.quote(value)} -o name` lists the names that fit.")
    return value


def expand(patterns: Sequence[str], database: Database) -> tuple[str, ...]:
    """Return the names that the patterns mean, each once: a glob is every managed PAT that it fits.

    UsageError for a glob that fits none; a plain name is taken as it is.
    """
    known: list[str] = []
    if any(map(is_glob, patterns)):
        with database.read() as reading:
            known = [pat.name for pat in reading.inventory.load_all()]
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in known if fnmatch.fnmatchcase(name, pattern)] if is_glob(pattern) else [pattern]
        if not fitting:
            raise NotManagedError(f'no managed PAT fits "{pattern}"', fix="See `rotator inventory list` for the names.")
        found |= dict.fromkeys(fitting)
    return tuple(found)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or _fits_one(name, patterns)


def _fits_one(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
