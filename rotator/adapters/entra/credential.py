"""An account's own sign-in as a credential of the Azure SDK, for vaults that the user may write to."""

from __future__ import annotations

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from rotator.adapters.bearer import Bearer, BearerSource
from rotator.adapters.key_vault.scopes import check_scopes
from rotator.domain.secret_value import SecretValue


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

    def renew(self, refused: SecretValue, scope: str) -> bool:
        """Have a token replaced that the vault did not accept. Return whether there is another one now."""
        return not self._source.fetch_bearer(self._account, scope, refused=refused).value.same_as(refused)

    def _fetch(self, scopes: tuple[str, ...], claims: str | None) -> Bearer:
        scope = check_scopes(scopes, f"account {self._account}")
        return self._source.fetch_bearer(self._account, scope, claims=claims)
