"""What a token cache holds of one configured sign-in."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from rotator.adapters.entra.cache_shape import ACCESS_TOKEN, REFRESH_TOKEN, SIGN_IN, Entry
from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.token_cache import EncryptedTokenCache


class CachedSignIn:
    """Finds it: `name` is that of the sign-in, and `cache` what `open_cache` gives for it."""

    def __init__(self, known: EntraAccount, authority: str, open_cache: Callable[[str], EncryptedTokenCache]) -> None:
        self.query: Entry = {
            "username": known.account.username.casefold(),
            "tenant": known.account.tenant.casefold(),
            "client_id": known.client_id,
            "environment": urlsplit(authority).hostname or "",
        }
        self.name = "|".join(self.query.values())
        self.cache = open_cache(self.name)

    def list_all(self) -> list[Entry]:
        """Return the sign-in, also one without a refresh token."""
        return self.cache.search(SIGN_IN, self.query)

    def find(self) -> Entry | None:
        """Return the sign-in, if it still has a refresh token."""
        found = next(iter(self.list_all()), None)
        return found if found and self.find_refresh_token(found) else None

    def find_refresh_token(self, sign_in: Entry) -> Entry:
        """Return the refresh token; empty when there is none."""
        return next(iter(self.cache.search(REFRESH_TOKEN, self._make_query(sign_in))), {})

    def find_token(self, sign_in: Entry, scope: str, now: float) -> Entry | None:
        """Return the newest access token that has not expired."""
        query = {**self._make_query(sign_in), "realm": sign_in["realm"]}
        tokens = self.cache.search(ACCESS_TOKEN, query, scope=scope, now=now)
        return max(tokens, key=lambda token: (int(token["cached_at"]), int(token["expires_on"])), default=None)

    def _make_query(self, sign_in: Entry) -> Entry:
        return {
            "home_account_id": sign_in["home_account_id"],
            "environment": sign_in["environment"],
            "client_id": self.query["client_id"],
        }
