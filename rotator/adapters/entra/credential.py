"""An account's own sign-in as a credential of the Azure SDK, for vaults that the user may write to."""

from __future__ import annotations

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from rotator.adapters.bearer import KEY_VAULT_SCOPE, Bearer, BearerSource
from rotator.errors import DeniedError


class AccountCredential:
    """Gives the account's access token for Key Vault, and for nothing else.

    The scope comes from the challenge of the server, which may be anybody's: any other raises DeniedError. Raises
    SignInRequiredError and TransientError as the source does.
    """

    def __init__(self, source: BearerSource, account: str) -> None:
        self._source = source
        self._account = account

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: object,
    ) -> AccessToken:
        """Return the token and its expiry in seconds since the epoch, always for the account's own tenant."""
        bearer = self._fetch(scopes, claims)
        return AccessToken(bearer.value.reveal(), int(bearer.expires_at.timestamp()))

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As `get_token`, in the newer form."""
        bearer = self._fetch(scopes, (options or {}).get("claims"))
        return AccessTokenInfo(bearer.value.reveal(), int(bearer.expires_at.timestamp()))

    def _fetch(self, scopes: tuple[str, ...], claims: str | None) -> Bearer:
        if scopes != (KEY_VAULT_SCOPE,):
            raise DeniedError(
                f"the vault asked account {self._account} for a token for {' '.join(scopes)}, not for Key Vault",
                service="key_vault",
                operation="authenticate",
                code="challenge_refused",
                fix="Check the vault's address in the policy: it is not that of a vault in Azure's public cloud.",
            )
        return self._source.fetch_bearer(self._account, KEY_VAULT_SCOPE, claims=claims)
