"""The user-delegated Entra sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class SignInStatus:
    """Who is signed in for an account. Times are None when not known; `username` None when nobody is."""

    account: str
    username: str | None
    access_expires_at: datetime | None = None
    refreshed_at: datetime | None = None


@dataclass(frozen=True)
class DevicePrompt:
    """What a person needs for a device code sign-in: open the address, enter the code, until `expires_at`."""

    verification_uri: str
    user_code: str
    expires_at: datetime
    message: str


@dataclass(frozen=True)
class TokenCacheDamage:
    """The file of sign-ins was lost: where it is, and what is wrong with it."""

    path: str
    reason: str


class SignIn(Protocol):
    """The user-delegated Entra sign-ins."""

    def refresh(self, account: str) -> SignInStatus:
        """Make sure that an access token with some minutes left can be had, silently.

        Raises SignInRequiredError when a human must act, TransientError when Entra cannot be asked now.
        """

    def find_damage(self) -> TokenCacheDamage | None:
        """What is wrong with the file of sign-ins, as far as the calls before showed; None when it is whole."""
