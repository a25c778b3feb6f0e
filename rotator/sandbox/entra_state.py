"""What the Entra stand-in remembers: codes in use, sign-ins, the signing key, policies for users.

Users, apps and tokens are in the World. This is the rest; the service holds it, and the World's lock guards it.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

DEVICE_CODE_LIFETIME = timedelta(minutes=15)
AUTHORIZATION_CODE_LIFETIME = timedelta(minutes=10)
REFRESH_TOKEN_IDLE_LIMIT = timedelta(days=90)

USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXYZ23456789"


@dataclass(frozen=True)
class SignIn:
    """Who signed in, when, and whether with a second factor. All tokens of one sign-in share it."""

    user_id: str
    at: datetime
    second_factor: bool
    nonce: str | None = None


@dataclass
class DeviceCode:
    """A device code in use. Approval sets `sign_in`; otherwise it ends as `declined` or `blocked`."""

    device_code: str
    user_code: str
    client_id: str
    tenant: str
    scope: str
    expires_at: datetime
    last_polled_at: datetime | None = None
    sign_in: SignIn | None = None
    declined: bool = False
    blocked: bool = False


@dataclass
class AuthorizationCode:
    """A code sent to a redirect address; it can be redeemed once, with the PKCE verifier of its challenge."""

    code: str
    client_id: str
    tenant: str
    scope: str
    redirect_uri: str
    challenge: str | None
    sign_in: SignIn
    expires_at: datetime
    redeemed: bool = False


@dataclass
class UserConditions:
    """The tenant's policies for one user, beyond the switches of the World's user."""

    mfa_enrollment_required: bool = False
    sign_in_frequency: timedelta | None = None
    """How long after an interactive sign-in a silent refresh still works. None: no limit."""


@functools.cache
def _make_signing_key() -> RSAPrivateKey:
    """Make one key for the process: it takes longer than the rest of a sandbox."""
    return generate_private_key(65537, 2048)


@dataclass
class EntraState:
    """All that is remembered. `transient_failures` is how many more token requests get a 503."""

    signing_key: RSAPrivateKey = field(default_factory=_make_signing_key)
    key_id: str = field(default_factory=lambda: secrets.token_urlsafe(20))
    device_codes: dict[str, DeviceCode] = field(default_factory=dict)
    authorization_codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    sign_ins: dict[str, SignIn] = field(default_factory=dict)
    """The sign-in behind each refresh token, by the token's value."""
    replaced_tokens: set[str] = field(default_factory=set)
    """Refresh tokens that have been replaced by a successor."""
    users: dict[str, UserConditions] = field(default_factory=dict)
    """By object id."""
    device_code_interval: int = 1
    """Seconds between polls. The real service says 5; a stand-in need not keep people waiting."""
    access_token_lifetime: timedelta = timedelta(seconds=3599)
    transient_failures: int = 0
    replaced_token_grace: timedelta = timedelta(hours=24)
    """How long a refresh token still works after its successor was issued: a client may lose the reply."""

    def user(self, object_id: str) -> UserConditions:
        """Return the conditions of a user, made on first use."""
        return self.users.setdefault(object_id, UserConditions())


def make_user_code() -> str:
    """Make nine characters that are hard to confuse when read aloud."""
    return "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(9))
