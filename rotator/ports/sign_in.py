"""The user-delegated Entra sign-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from rotator.domain.sign_in import IDLE_LIMIT


@dataclass(frozen=True)
class SignInStatus:
    """Who is signed in for an account. Times are None when not known; `username` is None when nobody is.

    `generation` is another one after each sign-in by a person, and may be after each refresh; empty when nobody is.
    """

    account: str
    username: str | None
    access_expires_at: datetime | None = None
    refreshed_at: datetime | None = None
    generation: str = ""
    granted: tuple[str, ...] = ()
    """The delegated permissions for Azure DevOps, as Entra's last answer named them; empty when it named none."""
    is_renewed: bool = True
    """False: Entra was to be asked for another token and could not be; the one that there is will do."""

    @property
    def lapses_at(self) -> datetime | None:
        """When the sign-in ends if nothing refreshes it; None when nobody is signed in or it is not known."""
        return self.refreshed_at + IDLE_LIMIT if self.username and self.refreshed_at else None

    def is_signed_in(self, now: datetime) -> bool:
        """Whether somebody is signed in and the sign-in has not lapsed."""
        return self.username is not None and (self.lapses_at is None or self.lapses_at > now)


@dataclass(frozen=True)
class DevicePrompt:
    """What a person needs for a device code sign-in: open the address, enter the code, until `expires_at`."""

    verification_uri: str
    user_code: str
    expires_at: datetime
    message: str


@dataclass(frozen=True)
class TokenCacheDamage:
    """The token cache was lost: where it is, and what is wrong with it."""

    path: str
    reason: str


class SignIn(Protocol):
    """The user-delegated Entra sign-ins."""

    def status(self, account: str) -> SignInStatus:
        """Return who is signed in, by the cache only."""

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """Make sure, silently, that there is an access token with some minutes left.

        `renews`: ask Entra for another one although there is one, so that a sign-in that was ended shows. When Entra
        cannot be asked, the one that there is will do.
        Raises SignInRequiredError when a person must sign in, TransientError when Entra cannot be asked now.
        """

    def find_damage(self) -> TokenCacheDamage | None:
        """Return what is wrong with the token cache, as far as earlier calls showed; None when it is intact."""

    def find_unsaved(self) -> TokenCacheDamage | None:
        """Return why tokens that Entra gave are in the memory of this process alone; None while all are saved."""

    def find_saved_at(self) -> datetime | None:
        """Return when this process last saved tokens; None when it never did."""


class InteractiveSignIn(Protocol):
    """Sign-ins that a person takes part in. Every method raises UsageError for an unknown account."""

    def status(self, account: str) -> SignInStatus:
        """Return who is signed in, by the cache only."""

    def login_with_device_code(self, account: str, show: Callable[[DevicePrompt], None]) -> SignInStatus:
        """Sign in with a code that a person enters on any device. `show` is called once; then Entra is polled."""

    def login_with_browser(self, account: str, open_url: Callable[[str], None], timeout: timedelta) -> SignInStatus:
        """Sign in with a browser on this host; `open_url` is given the page to open."""

    def logout(self, account: str) -> bool:
        """Forget the account's tokens, on disk too. Return whether there were any."""
