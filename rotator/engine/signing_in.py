"""Sign accounts in and out, audited; and what will end a sign-in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.account import Account
from rotator.domain.events.event import Event
from rotator.domain.events.places import (
    SignInCompleted,
    SignInRefused,
    SignInStarted,
    SignOutCompleted,
    SignOutStarted,
)
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure
from rotator.domain.next_step import NextAction
from rotator.domain.organization import OrganizationMemory
from rotator.domain.pending_revocation import group_pending
from rotator.domain.plan import CHANGES, Action, ActionKind, ActionReason, Plan
from rotator.domain.policy import PAUSED, Policy
from rotator.domain.sign_in import IDLE_LIMIT, SignInMemory
from rotator.engine.auditing import Author, record
from rotator.engine.in_force import put_in_force
from rotator.engine.moments import judge_clock
from rotator.engine.organizations import save_sign_in
from rotator.engine.status import NeededSignIn, PatStatus, find_creating, find_outlook, make_matter, put_sign_in_first
from rotator.errors import RotatorError
from rotator.ports.clock import Clock, Witnesses
from rotator.ports.database import Database, Reading
from rotator.ports.sign_in import InteractiveSignIn, SignInStatus


class SignInRisk(StrEnum):
    """What ends a sign-in, or keeps it from being used.

    `idle_or_policy`: too long without a run, a password change, a policy of the tenant. `client_secret_ends` and
    `client_certificate_ends`: those of the application, on a day that only Entra knows.
    """

    NOBODY_SIGNED_IN = auto()
    IDLE_OR_POLICY = auto()
    CLIENT_SECRET_ENDS = auto()
    CLIENT_CERTIFICATE_ENDS = auto()


@dataclass(frozen=True)
class AppRegistration:
    """The application that an account signs in through, and how it authenticates."""

    client_id: str
    has_secret: bool
    has_certificate: bool


@dataclass(frozen=True)
class SignInSight:
    """How an account's sign-in stands: by the token cache (None if unreadable), and by what is remembered."""

    status: SignInStatus | None
    memory: SignInMemory

    @property
    def refusal(self) -> Failure | None:
        """What Entra refused last. None also when the cache holds another sign-in since."""
        is_past = self.status is not None and self.status.generation != self.memory.generation
        return None if is_past else self.memory.refusal

    @property
    def last_refresh_at(self) -> datetime | None:
        """When Entra last gave tokens, as far as it is known."""
        moments = (self.memory.refreshed_at, None if self.status is None else self.status.refreshed_at)
        return max((moment for moment in moments if moment is not None), default=None)

    @property
    def lapses_at(self) -> datetime | None:
        """When the sign-in is expected to end; None when nothing is known, and when there is none."""
        if self.refusal is not None or (self.status is not None and self.status.username is None):
            return None
        return replace(self.memory, refreshed_at=self.last_refresh_at).lapses_at

    def is_signed_in(self, now: datetime) -> bool | None:
        """Whether somebody is signed in and may be used; None when it is not known."""
        if self.refusal is not None:
            return False
        if self.status is not None:
            return self.status.is_signed_in(now)
        refreshed_at = self.memory.refreshed_at
        return None if refreshed_at is None else refreshed_at + IDLE_LIMIT > now

    def find_warning(self, now: datetime) -> int | None:
        """Return the nearest warning of its end, in days; None when it is further away, or not known."""
        if self.lapses_at is None:
            return None
        return replace(self.memory, refusal=None, refreshed_at=self.last_refresh_at).find_warning(now)


@dataclass(frozen=True)
class Forecast:
    """How many ManagedPats of an account fall due before its sign-in ends, and how many later."""

    due_before: int
    due_after: int


@dataclass(frozen=True)
class AccountStatus:
    """An account's sign-in, and what depends on it; `forecast` is None when no end is known."""

    sight: SignInSight
    forecast: Forecast | None
    organizations: tuple[OrganizationMemory, ...] = ()


def find_missing(sights: Iterable[SignInSight], now: datetime) -> dict[str, NeededSignIn]:
    """Return the accounts that nobody is signed in for, whether a run met that or not."""
    out = (sight.memory for sight in sights if sight.is_signed_in(now) is False)
    return {memory.account: NeededSignIn(None, memory) for memory in out}


def make_account_status(
    sight: SignInSight, rows: Iterable[PatStatus], organizations: Iterable[OrganizationMemory] = ()
) -> AccountStatus:
    """Return how an account's sign-in and its organizations stand, and what falls due before the sign-in ends.

    `rows` are all ManagedPats, and `organizations` is what is remembered of those of every account.
    """
    ends_at, mine = sight.lapses_at, choose_organizations(sight.memory.account, organizations)
    if ends_at is None:
        return AccountStatus(sight, None, mine)
    due = [row.rotate_after for row in rows if row.account == sight.memory.account and row.is_rotated]
    moments = [moment for moment in due if moment is not None]
    before = sum(moment < ends_at for moment in moments)
    return AccountStatus(sight, Forecast(before, len(moments) - before), mine)


def choose_organizations(account: str, organizations: Iterable[OrganizationMemory]) -> tuple[OrganizationMemory, ...]:
    """Return what is remembered of one account's organizations."""
    return tuple(found for found in organizations if found.account == account)


_OF_NEWCOMERS = (ActionReason.TO_BE_ADOPTED, ActionReason.ADOPTION_BLOCKED)
_AHEAD = (ActionKind.ADOPT, ActionKind.WAIT)
"""What is to be done beside changes, or later: that waits for a sign-in too, whatever it waits for now."""


def find_waiting(
    reading: Reading,
    policy: Policy,
    actions: Iterable[Action],
    needed: Mapping[str, NeededSignIn],
    now: datetime,
    *,
    settle: timedelta,
    lease: timedelta,
) -> dict[str, str]:
    """Return what waits for the sign-in of a `needed` account, due or not: its name and its account.

    `actions` are those of every ManagedPat. Those are the rows of `status_in` which say so: one rule chooses both.
    """
    policy, limits, pending = put_in_force(reading, policy), reading.limits.load(), reading.revocations.load()
    held = [action for action in actions if action.pat.next_account in needed and action.reason not in _OF_NEWCOMERS]
    creating, asked = find_creating(reading, (action.pat for action in held), lease), group_pending(pending)
    waiting = {}
    for action in held:
        pat, decision = action.pat, action.decision
        if decision is None:
            decision = policy.decide(pat, now=now, longest=find_longest(limits, pat, now))
        matter = make_matter(pat, action.rotation, asked)
        outlook = find_outlook(matter, policy, decision, now, settle, is_creating=pat.name in creating)
        if put_sign_in_first(outlook, needed[pat.next_account]).step.action is NextAction.SIGN_IN:
            waiting[pat.name] = pat.account
    return waiting


def hold_for_sign_ins(plan: Plan, needed: Mapping[str, NeededSignIn], waiting: Mapping[str, str]) -> Plan:
    """Return the plan with nothing to be done for the accounts that a person must sign in first.

    `waiting` names what waits for that, due or not, each with its account. For people only: a run asks Entra.
    """

    def hold(action: Action) -> Action:
        name = _find_signed_out(action, needed)
        account = needed.get(name)
        if account is None or action.held_back == PAUSED:
            return action
        if action.kind not in (*CHANGES, *_AHEAD) and action.pat.name not in waiting:
            return action
        reason, failure = ActionReason.SIGN_IN_NEEDED, account.failure
        blocked = Action(ActionKind.BLOCKED, action.pat, reason, action.decision, action.rotation, failure=failure)
        return blocked._replace(signed_out=name)

    actions = tuple(map(hold, plan.actions))
    held = {action.pat.name for action in actions if action.reason is ActionReason.SIGN_IN_NEEDED}
    postponed = tuple(name for name in plan.postponed if name not in held)
    counts = Counter(waiting.values())
    return replace(plan, actions=actions, postponed=postponed, signed_out=tuple(sorted(needed)), waiting=counts)


def _find_signed_out(action: Action, needed: Collection[str]) -> str:
    """Name the account whose sign-in an action waits for: to revoke the old PAT of a move, that of its account too."""
    rotation, name = action.rotation, action.pat.next_account
    if action.kind is ActionKind.RETIRE and rotation is not None and rotation.predecessor_place[0] in needed:
        return rotation.predecessor_place[0]
    return name


@dataclass(frozen=True)
class AccountView:
    """An account, its application, its sign-in, what will end that, and its organizations."""

    account: Account
    registration: AppRegistration
    status: SignInStatus
    sight: SignInSight
    risks: tuple[SignInRisk, ...]
    organizations: tuple[OrganizationMemory, ...] = ()


def view_account(
    account: Account,
    registration: AppRegistration,
    status: SignInStatus,
    memory: SignInMemory,
    organizations: Iterable[OrganizationMemory] = (),
) -> AccountView:
    """Return what is known about an account's sign-in and its organizations, without asking anybody."""
    sight, mine = SignInSight(status, memory), choose_organizations(account.name, organizations)
    if status.username is None:
        return AccountView(account, registration, status, sight, (SignInRisk.NOBODY_SIGNED_IN,), mine)
    risks = [SignInRisk.IDLE_OR_POLICY]
    risks += [SignInRisk.CLIENT_SECRET_ENDS] if registration.has_secret else []
    risks += [SignInRisk.CLIENT_CERTIFICATE_ENDS] if registration.has_certificate else []
    return AccountView(account, registration, status, sight, tuple(risks), mine)


class SignInDesk:
    """Sign-ins and sign-outs by a person. Each is audited before anything happens, and again with its result."""

    def __init__(
        self, database: Database, clock: Clock, witnesses: Witnesses, sign_ins: InteractiveSignIn, author: Author
    ) -> None:
        self._database, self._clock, self._witnesses = database, clock, witnesses
        self._sign_ins, self._author = sign_ins, author

    def sign_in(self, account: str, method: str, converse: Callable[[InteractiveSignIn], SignInStatus]) -> SignInStatus:
        """Sign an account in through a conversation with its user. UsageError for an unknown account."""
        self._sign_ins.status(account)
        self._record(account, SignInStarted(method=method))
        try:
            status = converse(self._sign_ins)
        except RotatorError as error:
            self._record(account, SignInRefused(method=method, code=error.code))
            raise
        with self._database.read() as reading:
            is_wrong = judge_clock(self._clock, self._witnesses, reading).is_wrong
        at = None if is_wrong else self._clock.now()
        completed = SignInCompleted(method=method, username=status.username)
        self._record(account, completed, lambda before: before.signed_in(at))
        return status

    def sign_out(self, account: str) -> bool:
        """Forget an account's sign-in. Return whether there was one. UsageError for an unknown account."""
        self._sign_ins.status(account)
        self._record(account, SignOutStarted())
        was_signed_in = self._sign_ins.logout(account)
        self._record(account, SignOutCompleted(was_signed_in=was_signed_in), lambda before: before.signed_out())
        return was_signed_in

    def _record(self, account: str, event: Event, change: Callable[[SignInMemory], SignInMemory] | None = None) -> None:
        with self._database.begin() as work:
            if change is not None:
                save_sign_in(work, change(work.sign_ins.load(account)))
            record(work, self._author, account, event, self._clock.now())
