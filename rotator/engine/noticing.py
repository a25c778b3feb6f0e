"""Notice at each look what went wrong and what works again; audited when it changes, not at every run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.domain.condition import Condition, ConditionKind, VaultRequest
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.events.inventory import LeftBehindResolved, PatDropped, PatLeftBehind
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
    TokenCacheSaved,
    TokenCacheUnsaved,
    VaultDown,
    VaultDropped,
    VaultRestored,
)
from rotator.domain.events.revocations import RevocationResolved, RevocationUnconfirmed
from rotator.domain.events.rotations import ExpiryAverted, LifetimeRestored, LifetimeShortened
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.auditing import is_news_to, record, record_logged
from rotator.engine.context import RunContext
from rotator.engine.left_behind import LeftBehind
from rotator.engine.standing import Standing, load_standings
from rotator.engine.subjects import find_place, name_organization, name_vault
from rotator.engine.waiting import keep_books
from rotator.errors import RotatorError, SignInRequiredError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading

Pair = tuple[str, str]
Key = tuple[ConditionKind, str]
Change = tuple[Event, str]

_SEEN_IN_PLACES = frozenset(
    {
        ConditionKind.SIGN_IN_NEEDED,
        ConditionKind.ACCOUNT_DOWN,
        ConditionKind.ORGANIZATION_DOWN,
        ConditionKind.LISTING_DAMAGED,
    }
)
"""What a look at one account and organization begins or ends."""
_LOOK = "look"


@dataclass(frozen=True)
class Seen:
    """What one look at the server saw. A pair is an account's name and an organization, or "" for the account itself.

    `down` could not be looked at; `looked` could, each with the entries of its list that were not readable. `pairs` are
    those where there is something to look for. `left` are the PATs that were left behind, as far as our records show.
    `overdue` are the revocations that should be proven by now.
    """

    down: Mapping[Pair, RotatorError]
    looked: Mapping[Pair, tuple[str, ...]]
    pairs: frozenset[Pair]
    left: tuple[LeftBehind, ...]
    overdue: tuple[PendingRevocation, ...] = ()


def notice(run: RunContext, seen: Seen) -> None:
    """Record and tell what began since the last look, what has another cause now, and what ended.

    What cannot be known now stays as it is.
    """
    _record_changes(run, lambda reading: _compare(run, seen, reading))


def notice_places(run: RunContext, down: Mapping[Pair, RotatorError], looked: Mapping[Pair, tuple[str, ...]]) -> None:
    """Record and tell what began and ended in some places, and leave all the rest as it is.

    `down` and `looked` are as in `Seen`; of an account alone, with "" for the organization, that it could be used.
    """
    seen = Seen(down, looked, frozenset(), ())
    subjects = {name_organization(pair) for pair in looked} | {account for account, _ in looked}

    def find_changes(reading: Reading) -> list[Change]:
        lasting = _load_lasting(reading, _SEEN_IN_PLACES)
        troubles = {key: event for key, event in _list_troubles(run, seen).items() if key[0] in _SEEN_IN_PLACES}
        changes = _list_news(troubles, lasting)
        for kind, subject in sorted(lasting.keys() - troubles.keys()):
            ended = _find_end(run, seen, {}, (kind, subject)) if subject in subjects else None
            changes += [] if ended is None else [(ended, subject)]
        return changes

    _record_changes(run, find_changes)


def find_unproven(run: RunContext, pairs: Collection[Pair]) -> set[Pair]:
    """Return those that a list of their PATs does not prove to work: a PAT that was to be revoked could not be seen."""
    with run.services.database.read() as reading:
        lasting = _load_lasting(reading, {ConditionKind.ORGANIZATION_DOWN})
        down = {pair: name_organization(pair) for pair in pairs}
        return {
            pair
            for pair, subject in down.items()
            if (ConditionKind.ORGANIZATION_DOWN, subject) in lasting
            and _find_asked(reading, OrganizationDown.type.name, subject)[0] == _LOOK
        }


def notice_vault_down(run: RunContext, vault: str, event: VaultDown) -> None:
    """Record and tell that a vault is down, if that is news: it is also when more cannot be done than was told."""

    def find_changes(reading: Reading) -> list[Change]:
        told = _find_told(reading, vault)
        return [(event, vault)] if told is None or told[0] < VaultRequest[event.asked_to.upper()] else []

    _record_changes(run, find_changes)


def notice_vault_works(run: RunContext, vault: str, answered: Mapping[VaultRequest, datetime]) -> None:
    """Record and tell that a vault works, if that is news: it did what it could not, and `answered` says when.

    A failure outweighs an answer that is older. One in the future was noted by a wrong clock, and outweighs none.
    """

    def find_changes(reading: Reading) -> list[Change]:
        told = _find_told(reading, vault)
        if told is None or (at := answered.get(told[0])) is None:
            return []
        return [] if at < told[1] <= run.services.clock.now() else [(VaultRestored(), vault)]

    _record_changes(run, find_changes)


def _find_told(reading: Reading, vault: str) -> tuple[VaultRequest, datetime] | None:
    """Return what was last told that a vault cannot do, and when; None when it is not down."""
    found = _load_lasting(reading, {ConditionKind.VAULT_DOWN}).get((ConditionKind.VAULT_DOWN, vault))
    if found is None:
        return None
    asked_to, told_at = _find_asked(reading, VaultDown.type.name, vault)
    if asked_to.upper() in VaultRequest.__members__ and told_at is not None:
        return VaultRequest[asked_to.upper()], told_at
    return VaultRequest.READ, found.since


def _find_asked(reading: Reading, event: str, subject: str) -> tuple[str, datetime | None]:
    """Return what a place could not do when that was told last, and when; "" by an older version or in an archive."""
    for told in reading.audit.load_newest(1, AuditFilter(event=event, subject=subject)):
        return str(told.entry.details.get("asked_to", "")), told.occurred_at
    return "", None


def _make_down_event(pair: Pair, error: RotatorError, *, is_listed: bool) -> Change:
    """Return what cannot be worked with now, as an event and its subject."""
    account, organization = pair
    if isinstance(error, SignInRequiredError):
        return SignInLapsed(code=error.code, message=error.message), error.account
    if not organization:
        return AccountDown(code=error.code, message=error.message), account
    asked_to = _LOOK if is_listed else ""
    return OrganizationDown(code=error.code, message=error.message, asked_to=asked_to), name_organization(pair)


def _record_changes(run: RunContext, find_changes: Callable[[Reading], list[Change]]) -> None:
    """Record what changed, by what the database says. If nothing did, no writer waits."""
    with run.services.database.read() as reading:
        if not find_changes(reading):
            return

    def write() -> None:
        with run.services.database.begin() as work:
            changes = find_changes(work)
            named = [subject for event, subject in changes if _is_about_pat((event, subject))]
            places = {pat.name: pat for pat in work.inventory.load_named(named)}
            for change in changes:
                event, subject = change
                pat = places.get(subject) if _is_about_pat(change) else None
                place = {} if pat is None else {"account": pat.account, "organization": pat.organization}
                # The token cache logs by itself what is wrong with it.
                is_logged = isinstance(event, TokenCacheDamaged | TokenCacheUnsaved | TokenCacheSaved)
                write_event = record_logged if is_logged else record
                write_event(work, run, subject, event, run.services.clock.now(), **place)

    keep_books(run.services, write)


def _is_about_pat(change: Change) -> bool:
    return change[0].type.subject is SubjectKind.MANAGED_PAT


def _load_lasting(reading: Reading, kinds: Collection[ConditionKind] = tuple(ConditionKind)) -> dict[Key, Condition]:
    """The conditions of these kinds that last."""
    return {(condition.kind, condition.subject): condition for condition in reading.conditions.load_of(kinds)}


def _compare(run: RunContext, seen: Seen, reading: Reading) -> list[Change]:
    """Return the events that begin what is newly wrong, or has another cause, and those that end what is well again."""
    lasting, standings, now = _load_lasting(reading), load_standings(run, reading), run.services.clock.now()
    troubles = _list_troubles(run, seen)
    down = {*troubles, *lasting}
    for name, standing in standings.items():
        event = standing.find_trouble()
        if event is not None and event.type.begins is not None:
            troubles[event.type.begins, name] = event
        # Of an account, an organization or a vault that is down is told with all that waits for it.
        is_waiting = any(find_place(kind, standing.pat) == subject for kind, subject in down)
        expiring = standing.find_expiring(now)
        if is_waiting and standing.may_expire(now):
            lasting.pop((ConditionKind.PAT_EXPIRING, name), None)  # what was told of it before lasts as it is
        elif expiring is not None:
            troubles[ConditionKind.PAT_EXPIRING, name] = expiring
        if standing.is_shortened:
            troubles[ConditionKind.LIFETIME_SHORTENED, name] = LifetimeShortened(valid_to=standing.pat.valid_to)
    changes = _list_news(troubles, lasting)
    for kind, subject in sorted(lasting.keys() - troubles.keys()):
        is_refused = kind is ConditionKind.SIGN_IN_NEEDED and reading.sign_ins.load(subject).refusal is not None
        if is_refused and subject in {account.name for account in run.services.accounts}:
            continue  # another job met it since this look began
        saved_at = run.services.sign_in.find_saved_at()
        if kind is ConditionKind.TOKEN_CACHE_UNSAVED and (saved_at is None or saved_at < lasting[kind, subject].since):
            continue  # this process had nothing to save: another one may still have
        ended = _find_end(run, seen, standings, (kind, subject))
        # One event may end several conditions of its subject.
        if ended is not None and (ended, subject) not in changes:
            changes.append((ended, subject))
    return changes


def _list_news(troubles: Mapping[Key, Event], lasting: Mapping[Key, Condition]) -> list[Change]:
    """Return what is newly wrong, or has another cause."""
    return [(event, key[1]) for key, event in troubles.items() if is_news_to(lasting, event, key[1])]


def _list_troubles(run: RunContext, seen: Seen) -> dict[Key, Event]:
    """Return what is wrong now, each with the event that begins it."""
    events = [_make_down_event(pair, error, is_listed=pair in seen.looked) for pair, error in seen.down.items()]
    events += [(PatLeftBehind(name=left.name, kind=left.kind.value), left.pat.authorization_id) for left in seen.left]
    events += [
        (RevocationUnconfirmed(name=item.name, requested_at=item.since, requests=item.requests), item.authorization_id)
        for item in seen.overdue
    ]
    events += [
        (ListingDamaged(entries=len(ids), authorization_ids=", ".join(filter(None, ids))), name_organization(pair))
        for pair, ids in seen.looked.items()
        if ids
    ]
    damage = run.services.sign_in.find_damage()
    if damage is not None:
        events.append((TokenCacheDamaged(damage=damage.reason), damage.path))
    unsaved = run.services.sign_in.find_unsaved()
    if unsaved is not None:
        events.append((TokenCacheUnsaved(message=unsaved.reason), unsaved.path))
    return {(event.type.begins, subject): event for event, subject in events if event.type.begins is not None}


_ENDS: dict[ConditionKind, type[LeftBehindResolved | RevocationResolved | TokenCacheRepaired | TokenCacheSaved]] = {
    ConditionKind.PAT_LEFT_BEHIND: LeftBehindResolved,
    ConditionKind.REVOCATION_PENDING: RevocationResolved,
    ConditionKind.TOKEN_CACHE_DAMAGED: TokenCacheRepaired,
    ConditionKind.TOKEN_CACHE_UNSAVED: TokenCacheSaved,
}
"""What ends as soon as a look does not see it."""


def _find_end(run: RunContext, seen: Seen, standings: Mapping[str, Standing], key: Key) -> Event | None:
    """Return the event that ends a condition which this look did not see; None when that proves nothing.

    A vault is not looked at: what it does next ends that it is down, see `vaults`.
    """
    kind, subject = key
    match kind:
        case (
            ConditionKind.ROTATION_FAILING
            | ConditionKind.ROTATION_BLOCKED
            | ConditionKind.PAT_VANISHED
            | ConditionKind.CLONES_ABANDONED
            | ConditionKind.LIFETIME_SHORTENED
            | ConditionKind.PAT_EXPIRING
            | ConditionKind.PROBE_FAILING
        ):
            return _find_end_of_record(standings.get(subject), kind)
        case ConditionKind.SIGN_IN_NEEDED | ConditionKind.ACCOUNT_DOWN:
            if subject not in {account.name for account in run.services.accounts}:
                return AccountDropped()
            if (subject, "") in seen.down:
                return None
            return SignInRestored() if kind is ConditionKind.SIGN_IN_NEEDED else AccountRestored()
        case ConditionKind.ORGANIZATION_DOWN | ConditionKind.LISTING_DAMAGED:
            is_down = kind is ConditionKind.ORGANIZATION_DOWN
            if subject in map(name_organization, seen.looked):
                return OrganizationRestored() if is_down else ListingRepaired()
            if subject in map(name_organization, seen.pairs):
                return None
            return OrganizationDropped() if is_down else ListingRepaired()
        case ConditionKind.VAULT_DOWN:
            stored = [standing for standing in standings.values() if name_vault(standing.pat) == subject]
            return None if stored else VaultDropped()
        case (
            ConditionKind.CLOCK_WRONG
            | ConditionKind.AUDIT_BROKEN
            | ConditionKind.TIMELINE_CHANGED
            | ConditionKind.RECEIVER_FAILING
            | ConditionKind.HOOK_FAILING
            | ConditionKind.DATABASE_DOWN
            | ConditionKind.ALL_PAUSED
            | ConditionKind.JOB_STALLED
            | ConditionKind.DAEMONS_MIXED
        ):
            return None  # ended elsewhere, as by `clocks`, `failover`, `delivering`, `pausing`, `stalled`, `lives`
        case ConditionKind.ADOPTION_BLOCKED:
            return None  # a run that takes PATs over ends it: see `taking_over`
        case _:
            return _ENDS[kind]()


def _find_end_of_record(standing: Standing | None, kind: ConditionKind) -> Event | None:
    """Return the event that ends a condition of a record; the record may be gone."""
    if standing is None:
        return PatDropped()
    if kind is ConditionKind.PROBE_FAILING:
        return None  # a probe that works ends it: see `probing`
    if kind is ConditionKind.PAT_EXPIRING:
        return ExpiryAverted()
    return LifetimeRestored() if kind is ConditionKind.LIFETIME_SHORTENED else standing.find_end()
