"""Sign accounts in and out, audited; and what will end a sign-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from rotator.engine.auditing import Author, record
from rotator.errors import RotatorError
from rotator.ports.clock import Clock
from rotator.ports.database import Database
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
class AccountView:
    """An account, its application, its sign-in, and what will end that."""

    account: Account
    registration: AppRegistration
    status: SignInStatus
    risks: tuple[SignInRisk, ...]


def view_account(account: Account, registration: AppRegistration, status: SignInStatus) -> AccountView:
    """Return what is known about an account's sign-in, without asking Entra."""
    if status.username is None:
        return AccountView(account, registration, status, (SignInRisk.NOBODY_SIGNED_IN,))
    risks = [SignInRisk.IDLE_OR_POLICY]
    risks += [SignInRisk.CLIENT_SECRET_ENDS] if registration.has_secret else []
    risks += [SignInRisk.CLIENT_CERTIFICATE_ENDS] if registration.has_certificate else []
    return AccountView(account, registration, status, tuple(risks))


class SignInDesk:
    """Sign-ins and sign-outs by a person. Each is audited before anything happens, and again with its result."""

    def __init__(self, database: Database, clock: Clock, sign_ins: InteractiveSignIn, author: Author) -> None:
        self._database, self._clock = database, clock
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
        self._record(account, SignInCompleted(method=method, username=status.username))
        return status

    def sign_out(self, account: str) -> bool:
        """Forget an account's sign-in. Return whether there was one. UsageError for an unknown account."""
        self._sign_ins.status(account)
        self._record(account, SignOutStarted())
        was_signed_in = self._sign_ins.logout(account)
        self._record(account, SignOutCompleted(was_signed_in=was_signed_in))
        return was_signed_in

    def _record(self, account: str, event: Event) -> None:
        with self._database.begin() as work:
            record(work, self._author, account, event, self._clock.now())
