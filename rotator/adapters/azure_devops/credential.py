"""What a call authenticates with: an account's bearer, or a PAT that is to be verified."""

from __future__ import annotations

import base64
from typing import Protocol

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, Bearer, BearerSource
from rotator.domain.secret_value import SecretValue

_BEARER = "Bearer "


class Credential(Protocol):
    """Something to put into the Authorization header."""

    @property
    def throttle_key(self) -> str:
        """Whose calls wait together when the service asks to slow down."""

    def make_header(self) -> SecretValue:
        """Return the header's value."""

    def renew(self, refused: SecretValue, claims: str | None) -> SecretValue | None:
        """Return another value in place of one that the service refused; None when there is none.

        `claims` is the claims challenge that came with the refusal.
        """


OF_ACCOUNT = "account "
"""What the throttle key of an account begins with."""
OF_PROBES = "probes of "
"""And that of an organization, for all values of PATs that are tried there."""


class AccountBearer:
    """The sign-in of one of our accounts."""

    def __init__(self, bearers: BearerSource, account: str) -> None:
        self._bearers = bearers
        self._account = account

    @property
    def throttle_key(self) -> str:
        """The account: the service counts by user."""
        return f"{OF_ACCOUNT}{self._account}"

    def make_header(self) -> SecretValue:
        """Return a bearer, refreshed when needed; raises what BearerSource raises."""
        return _make_bearer(self._bearers.fetch_bearer(self._account, AZURE_DEVOPS_SCOPE))

    def renew(self, refused: SecretValue, claims: str | None) -> SecretValue | None:
        """Return what one forced refresh gives; raises what BearerSource raises, such as that a person must sign in."""
        token = SecretValue(refused.reveal().removeprefix(_BEARER))
        bearer = self._bearers.fetch_bearer(self._account, AZURE_DEVOPS_SCOPE, claims=claims, refused=token)
        return None if bearer.value.same_as(token) else _make_bearer(bearer)


class PatBasic:
    """A PAT, sent as Basic with an empty user."""

    def __init__(self, organization: str, value: SecretValue) -> None:
        self._organization = organization
        self._value = value

    @property
    def throttle_key(self) -> str:
        """The organization: only the answer tells whose PAT it is."""
        return f"{OF_PROBES}{self._organization}"

    def make_header(self) -> SecretValue:
        """Always the same."""
        # Half of a surrogate pair is in no PAT; the service is left to refuse it, as it does any other wrong one.
        coded = base64.b64encode(f":{self._value.reveal()}".encode(errors="surrogatepass")).decode()
        return SecretValue(f"Basic {coded}")

    def renew(self, refused: SecretValue, claims: str | None) -> SecretValue | None:
        """Nothing replaces a PAT."""
        return None


def _make_bearer(bearer: Bearer) -> SecretValue:
    return SecretValue(f"{_BEARER}{bearer.value.reveal()}")
