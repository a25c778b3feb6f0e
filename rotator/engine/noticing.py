"""Notice at each look what went wrong and what is well again; audited when it changes, not at every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.inventory import LeftBehindResolved, PatLeftBehind
from rotator.domain.events.places import (
    AccountDown,
    AccountDropped,
    AccountRestored,
    ListingDamaged,
    ListingRepaired,
    OrganizationDown,
    OrganizationDropped,
    OrganizationRestored,
    SignInLapsed,
    SignInRestored,
    TokenCacheDamaged,
    TokenCacheRepaired,
    VaultDown,
    VaultDropped,
    VaultRestored,
)
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.left_behind import LeftBehind
from rotator.engine.waiting import keep_books
from rotator.errors import RotatorError, SignInRequiredError, TransientError, UnknownOutcomeError
from rotator.ports.database import Reading

Pair = tuple[str, str]
Key = tuple[ConditionKind, str]
Change = tuple[Event, str]


@dataclass(frozen=True)
class Seen:
    """What one look at the server saw. A pair is an account's name and an organization, or "" for the account itself.

    `down` could not be looked at; `looked` could, each with the entries of its list that were not readable. `pats` are
    all that are managed. `left` are the PATs that were left behind, as far as our records show.
    """

    down: Mapping[Pair, RotatorError]
    looked: Mapping[Pair, tuple[str, ...]]
    pats: tuple[ManagedPat, ...]
    left: tuple[LeftBehind, ...]


def notice(run: RunContext, seen: Seen) -> None:
    """Record what began since the last look, and what ended. What cannot be known now stays as it is."""
    _record_changes(run, lambda ongoing: _compare(run, seen, ongoing))


def notice_vault(run: RunContext, pat: ManagedPat, error: RotatorError | None) -> None:
    """Record that the vault of a ManagedPat went down by this error, or that it works again (None)."""
    is_down = isinstance(error, TransientError | UnknownOutcomeError) and error.service == "key_vault"
    if error is not None and not is_down:
        return
    event = VaultRestored() if error is None else VaultDown(code=error.code)
    key = (ConditionKind.VAULT_DOWN, name_vault(pat))
    for change in _record_changes(run, lambda ongoing: [(event, key[1])] if is_down != (key in ongoing) else []):
        run.progress(*change)


def make_down_event(pair: Pair, error: RotatorError) -> Change:
    """Return what cannot be worked with now, as an event and its subject."""
    account, organization = pair
    if isinstance(error, SignInRequiredError):
        return SignInLapsed(code=error.code), error.account
    if not organization:
        return AccountDown(code=error.code), account
    return OrganizationDown(code=error.code), name_organization(pair)


def name_vault(pat: ManagedPat) -> str:
    """Name the vault of a ManagedPat as a subject: two spellings of one address are equal."""
    return pat.vault.rstrip("/").lower()


def name_organization(pair: Pair) -> str:
    """Name an organization as a subject, with the account that looks at it."""
    return "/".join(pair)


def _record_changes(run: RunContext, find_changes: Callable[[set[Key]], list[Change]]) -> list[Change]:
    """Record what changed, given the conditions that last. If nothing did, no writer waits."""
    with run.services.database.read() as reading:
        if not find_changes(_list_ongoing(reading)):
            return []

    def write() -> list[Change]:
        with run.services.database.begin() as work:
            changes = find_changes(_list_ongoing(work))
            for event, subject in changes:
                record(work, run, subject, event, run.services.clock.now())
        return changes

    return keep_books(run.services, write)


def _list_ongoing(reading: Reading) -> set[Key]:
    """The conditions that last."""
    return {(condition.kind, condition.subject) for condition in reading.conditions.load()}


def _compare(run: RunContext, seen: Seen, ongoing: set[Key]) -> list[Change]:
    """Return the events that begin what is newly wrong, and those that end what is well again."""
    troubles, changes = _list_troubles(run, seen), []
    for (kind, subject), event in troubles.items():
        # An account that a person must sign in stays that, although Entra cannot be asked now.
        hidden = kind is ConditionKind.ACCOUNT_DOWN and (ConditionKind.SIGN_IN_NEEDED, subject) in ongoing
        if (kind, subject) not in ongoing and not hidden:
            changes.append((event, subject))
    for kind, subject in sorted(ongoing - troubles.keys()):
        ended = _find_end(run, seen, kind, subject)
        if ended is not None:
            changes.append((ended, subject))
    return changes


def _list_troubles(run: RunContext, seen: Seen) -> dict[Key, Event]:
    """Return what is wrong now, each with the event that begins it."""
    events = [make_down_event(pair, error) for pair, error in seen.down.items()]
    events += [
        (PatLeftBehind(name=left.rotation.name, kind=left.kind.value), left.pat.authorization_id) for left in seen.left
    ]
    events += [
        (ListingDamaged(entries=len(ids), authorization_ids=", ".join(filter(None, ids))), name_organization(pair))
        for pair, ids in seen.looked.items()
        if ids
    ]
    damage = run.services.sign_in.find_damage()
    if damage is not None:
        events.append((TokenCacheDamaged(damage=damage.reason), damage.path))
    return {(event.type.begins, subject): event for event, subject in events if event.type.begins is not None}


def _find_end(run: RunContext, seen: Seen, kind: ConditionKind, subject: str) -> Event | None:
    """Return the event that ends a condition which this look did not see; None when that proves nothing."""
    match kind:
        case ConditionKind.SIGN_IN_NEEDED | ConditionKind.ACCOUNT_DOWN:
            if subject not in {account.name for account in run.services.accounts}:
                return AccountDropped()
            if (subject, "") in seen.down:
                return None
            return SignInRestored() if kind is ConditionKind.SIGN_IN_NEEDED else AccountRestored()
        case ConditionKind.ORGANIZATION_DOWN | ConditionKind.LISTING_DAMAGED:
            is_down = kind is ConditionKind.ORGANIZATION_DOWN
            if subject not in {name_organization((pat.account, pat.organization)) for pat in seen.pats}:
                return OrganizationDropped() if is_down else ListingRepaired()
            if subject not in map(name_organization, seen.looked):
                return None
            return OrganizationRestored() if is_down else ListingRepaired()
        case ConditionKind.VAULT_DOWN:
            return None if subject in map(name_vault, seen.pats) else VaultDropped()
        case ConditionKind.PAT_LEFT_BEHIND:
            return LeftBehindResolved()
        case ConditionKind.TOKEN_CACHE_DAMAGED:
            return TokenCacheRepaired()
    return None
