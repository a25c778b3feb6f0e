"""What a call authenticates with: an account's bearer, or a PAT that is to be verified."""

from __future__ import annotations

import base64
from typing import Protocol

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, BearerSource
from rotator.domain.secret_value import SecretValue


class Credential(Protocol):
    """Something to put into the Authorization header."""

    @property
    def throttle_key(self) -> str:
        """Whose calls wait together when the service asks to slow down."""

    def make_header(self, claims: str | None) -> SecretValue:
        """Return the header's value. `claims` is a claims challenge to satisfy with a fresh token."""


class AccountBearer:
    """The sign-in of one of our accounts."""

    def __init__(self, bearers: BearerSource, account: str) -> None:
        self._bearers = bearers
        self._account = account

    @property
    def throttle_key(self) -> str:
        """The account: the service counts by user."""
        return f"account {self._account}"

    def make_header(self, claims: str | None) -> SecretValue:
        """Return a bearer, refreshed when needed; raises what BearerSource raises."""
        bearer = self._bearers.fetch_bearer(self._account, AZURE_DEVOPS_SCOPE, claims=claims)
        return SecretValue(f"Bearer {bearer.value.reveal()}")


class PatBasic:
    """A PAT, sent as Basic with an empty user."""

    def __init__(self, organization: str, value: SecretValue) -> None:
        self._organization = organization
        self._value = value

    @property
    def throttle_key(self) -> str:
        """The organization: only the answer tells whose PAT it is."""
        return f"probes of {self._organization}"

    def make_header(self, claims: str | None) -> SecretValue:
        """Always the same: a PAT satisfies no claims challenge."""
        coded = base64.b64encode(f":{self._value.reveal()}".encode()).decode()
        return SecretValue(f"Basic {coded}")
