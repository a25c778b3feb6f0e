"""A read-only look at the PATs of all users of the organizations, as their administrator.

Of a user whom nobody could look at nothing is known: that is said for each, and never that their PATs are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rotator.domain.account import Account
from rotator.domain.events.administration import OrganizationScanned
from rotator.domain.managed_pat import Pat
from rotator.domain.user_pats import FULL_ACCESS, OrganizationUser, UserLook, is_long_lived
from rotator.engine.accounting import Keeper, KeeperKind, Keepers, load_keepers
from rotator.engine.auditing import record
from rotator.engine.comparing import ScanKind
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.listing import ServerView
from rotator.engine.subjects import name_organization
from rotator.engine.waiting import keep_books
from rotator.errors import DatabaseError, DeniedError, RotatorError, SignInRequiredError, StoppedError
from rotator.ports.token_admin import TokenAdmin, UserList

_MOST_IN_VAIN = 3
"""After so many looks in vain nobody else is looked at: the account is no administrator, or the service is away."""
_KINDS = {KeeperKind.RECORD: ScanKind.MANAGED, KeeperKind.ROTATION: ScanKind.ROTATING}

Tell = Callable[[str, int, int], None]
"""Is told of the organization, and how many of how many users were looked at so far."""


@dataclass(frozen=True)
class UserPat:
    """One PAT of one user. `name` is that of the ManagedPat whose record or rotation accounts for it."""

    organization: str
    user: OrganizationUser
    pat: Pat
    kind: ScanKind
    name: str | None
    is_long_lived: bool

    @property
    def is_full_access(self) -> bool:
        """Whether it may do everything that its user may."""
        return FULL_ACCESS in self.pat.scopes


@dataclass(frozen=True)
class LookedUser:
    """What came of the look at one user's PATs. `error` is why they are not known; None for a service's identity."""

    organization: str
    user: OrganizationUser
    look: UserLook
    pats: tuple[Pat, ...] = ()
    unreadable: int = 0
    error: RotatorError | None = None


@dataclass(frozen=True)
class OrganizationScan:
    """What came of one organization. `account` listed its users; where nobody may, `error` says why."""

    account: str
    organization: str
    users: tuple[LookedUser, ...] = ()
    pats: tuple[UserPat, ...] = ()
    unreadable: int = 0
    error: RotatorError | None = None

    @property
    def has_seen(self) -> bool:
        """Whether anybody's PATs were listed."""
        return any(user.look is UserLook.OK for user in self.users)


def scan_users(run: RunContext, admin: TokenAdmin, tell: Tell) -> tuple[OrganizationScan, ...]:
    """Look at all users of each organization, and record how many PATs of which kind there are. Changes nothing."""
    places: dict[str, list[Account]] = {}
    for account in run.services.accounts:
        for organization in account.organizations:
            places.setdefault(organization, []).append(account)
    view, found = ServerView(run), []
    for organization, accounts in places.items():
        result = _scan(run, admin, view, organization, accounts, tell)
        if result.has_seen:
            _record(run, result)
        found.append(result)
    return tuple(found)


def _scan(
    run: RunContext, admin: TokenAdmin, view: ServerView, organization: str, accounts: Sequence[Account], tell: Tell
) -> OrganizationScan:
    """Scan an organization with the first account that may list its users, and a PAT of one of them."""
    results: list[OrganizationScan] = []
    for account in accounts:
        result = OrganizationScan(account.name, organization)
        try:
            with naming_bugs("the other organizations were scanned"):
                view.refresh_account(account.name)
                users = admin.fetch_users(account.name, organization)
        except (DatabaseError, StoppedError):
            raise
        except RotatorError as error:
            results.append(replace(result, error=error))
            if not isinstance(error, DeniedError | SignInRequiredError):
                break
            continue
        results.append(_look_at_users(run, admin, result, users, tell))
        if results[-1].has_seen:
            break
    return next((result for result in reversed(results) if result.error is None), results[0])


def _look_at_users(
    run: RunContext, admin: TokenAdmin, result: OrganizationScan, users: UserList, tell: Tell
) -> OrganizationScan:
    looked: list[LookedUser] = []
    vain = _InVain()
    for number, user in enumerate(users.users):
        tell(result.organization, number, len(users.users))
        if user.is_service:
            looked.append(LookedUser(result.organization, user, UserLook.SKIPPED))
        elif vain.reason is not None:
            looked.append(LookedUser(result.organization, user, UserLook.SKIPPED, error=vain.reason))
        else:
            looked.append(_look_at(admin, result, user))
            vain.note(looked[-1])
    unreadable = users.unreadable + sum(user.unreadable for user in looked)
    return replace(result, users=tuple(looked), pats=_judge(run, looked), unreadable=unreadable)


@dataclass(frozen=True)
class FoundPat:
    """Whose PAT has an id. Where nobody's was found, `error` says why not everybody's could be looked at, if so."""

    user: OrganizationUser | None = None
    pat: Pat | None = None
    error: RotatorError | None = None


def look_for_pat(admin: TokenAdmin, account: str, organization: str, authorization_id: str, tell: Tell) -> FoundPat:
    """Look for a PAT among those of all users of an organization. Changes nothing."""
    place, vain = OrganizationScan(account, organization), _InVain()
    unseen: RotatorError | None = None
    try:
        listed = admin.fetch_users(account, organization)
    except (DatabaseError, StoppedError):
        raise
    except RotatorError as error:
        return FoundPat(error=error)
    users, unreadable = [user for user in listed.users if not user.is_service], listed.unreadable
    for number, user in enumerate(users):
        tell(organization, number, len(users))
        looked = _look_at(admin, place, user)
        unreadable += looked.unreadable
        for pat in looked.pats:
            if pat.authorization_id == authorization_id:
                return FoundPat(user, pat.as_ending())
        unseen = unseen or looked.error
        vain.note(looked)
        if vain.reason is not None:
            return FoundPat(error=vain.reason)
    if unreadable and unseen is None:
        unseen = RotatorError("some users or PATs that Azure DevOps lists cannot be read")
    return FoundPat(error=unseen)


@dataclass
class _InVain:
    """Whether to go on: not after refusals alone, nor while nothing works. A refusal among successes is of one user."""

    may_list: bool = False
    denied: int = 0
    failed: int = 0
    reason: RotatorError | None = None

    def note(self, found: LookedUser) -> None:
        """Learn from one more look."""
        if found.look is UserLook.OK:
            self.may_list, self.failed = True, 0
            return
        is_denied = found.look is UserLook.DENIED
        self.denied, self.failed = self.denied + is_denied, 0 if is_denied else self.failed + 1
        if self.failed >= _MOST_IN_VAIN or (self.denied >= _MOST_IN_VAIN and not self.may_list):
            self.reason = found.error


def _look_at(admin: TokenAdmin, result: OrganizationScan, user: OrganizationUser) -> LookedUser:
    organization = result.organization
    try:
        with naming_bugs("the other users were looked at"):
            pats = admin.fetch_user_pats(result.account, organization, user)
    except (DatabaseError, StoppedError):
        raise
    except RotatorError as error:
        look = UserLook.DENIED if isinstance(error, DeniedError) else UserLook.SKIPPED
        return LookedUser(organization, user, look, error=error)
    return LookedUser(organization, user, UserLook.OK, tuple(pats), len(pats.unreadable))


def _judge(run: RunContext, looked: Iterable[LookedUser]) -> tuple[UserPat, ...]:
    """Say of each PAT that is valid now what accounts for it, and how long it lives."""
    now, longest = run.services.clock.now(), run.policy.guardrails.max_lifetime
    listed = [(user, pat.as_ending()) for user in looked for pat in user.pats]
    valid = [(user, pat) for user, pat in listed if pat.valid_to > now]
    with run.services.database.read() as reading:
        keepers = load_keepers(reading, [pat.authorization_id for _, pat in valid], now)
    return tuple(
        UserPat(
            organization=looked.organization,
            user=looked.user,
            pat=pat,
            kind=_find_kind(keepers, keeper, pat),
            name=None if keeper is None else keeper.name,
            is_long_lived=is_long_lived(pat, longest),
        )
        for looked, pat in valid
        for keeper in [_find_keeper(keepers, pat)]
    )


def _find_keeper(keepers: Keepers, pat: Pat) -> Keeper | None:
    keeper = keepers.find_by_id(pat.authorization_id)
    return keeper if keeper is not None and keeper.binds else None


def _find_kind(keepers: Keepers, keeper: Keeper | None, pat: Pat) -> ScanKind:
    if keepers.find_pending(pat.authorization_id) is not None:
        return ScanKind.PENDING_REVOCATION
    return ScanKind.UNTRACKED if keeper is None else _KINDS.get(keeper.kind, ScanKind.LEFT_BEHIND)


def _record(run: RunContext, result: OrganizationScan) -> None:
    looks = [user.look for user in result.users]
    event = OrganizationScanned(
        users=len(looks),
        denied=looks.count(UserLook.DENIED),
        skipped=looks.count(UserLook.SKIPPED),
        pats=len(result.pats),
        full_access=sum(pat.is_full_access for pat in result.pats),
        long_lived=sum(pat.is_long_lived for pat in result.pats),
        all_organizations=sum(pat.pat.all_organizations for pat in result.pats),
        ownerless=sum(pat.user.is_deleted for pat in result.pats),
        managed=sum(pat.name is not None for pat in result.pats),
        unreadable=result.unreadable,
    )

    def write() -> None:
        with run.services.database.begin() as work:
            subject = name_organization((result.account, result.organization))
            record(work, run, subject, event, run.services.clock.now())

    keep_books(run.services, write)
