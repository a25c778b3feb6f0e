"""An account as Entra knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rotator.domain.account import Account
from rotator.domain.secret_value import SecretValue


@dataclass(frozen=True)
class EntraAccount:
    """An account and the application that it signs in through.

    The callables fetch the credential of a confidential client, each time anew: a secret, or a PEM text with private
    key and certificate. A public client has neither.
    """

    account: Account
    client_id: str
    client_secret: Callable[[], SecretValue] | None = None
    client_certificate: Callable[[], SecretValue] | None = None
