"""The accounts' own sign-ins as credentials for Key Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rotator.domain.account import Account
from rotator.engine.listing import make_unknown_account
from rotator.ports.secret_store import SecretLocation

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from rotator.adapters.entra.sign_in import EntraSignIn


def make_account_credentials(
    sign_in: EntraSignIn, accounts: Iterable[Account]
) -> Callable[[SecretLocation], TokenCredential]:
    """Return what finds the credential for a secret: that of the account whose PAT it holds."""
    from rotator.adapters.entra.credential import AccountCredential

    credentials = {account.name: AccountCredential(sign_in, account.name) for account in accounts}

    def find(location: SecretLocation) -> TokenCredential:
        if location.account not in credentials:
            raise make_unknown_account(location.account)
        return credentials[location.account]

    return find
